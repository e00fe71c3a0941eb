"""Sending a stream: sinks write to the connection as the engine goes; a slow client gets the rest here."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from aiohttp import web

from mock_server.choices import UNREAD_TIMEOUT_S
from mock_server.fleet import Place
from mock_server.generation import WaitableSink, generate
from mock_server.reply import Reply


class StreamingSink(WaitableSink, Protocol):
    written: bool  # to its last byte

    def pump(self) -> None:
        """Writes what is made and not sent, or a good part of it."""


class WrittenResponse(web.StreamResponse):
    """A response whose bytes went to the transport already."""

    def __init__(self, *, keep_alive: bool) -> None:
        super().__init__()
        self._stays = keep_alive

    @property
    def keep_alive(self) -> bool:
        return self._stays

    async def prepare(self, request: web.BaseRequest) -> None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


def connection_of(request: web.Request) -> asyncio.Transport:
    if request.transport is None:  # the client has left
        raise asyncio.CancelledError
    return request.transport


async def send_stream(
    request: web.Request, reply: Reply, sinks: Sequence[StreamingSink], place: Place
) -> web.StreamResponse:
    """Generates, and returns when the last byte is with the kernel or in the transport's bounded buffer."""
    transport = connection_of(request)
    await generate(reply, sinks, place)
    while not all(sink.written for sink in sinks):  # the client is slow: its backlog goes out as it reads
        try:
            await asyncio.wait_for(request.writer.drain(), UNREAD_TIMEOUT_S)
        except TimeoutError:
            transport.abort()
        if transport.is_closing():
            raise ConnectionResetError("the client left before its last token")
        for sink in sinks:
            sink.pump()
    return WrittenResponse(keep_alive=request.version >= (1, 1) and request.keep_alive)
