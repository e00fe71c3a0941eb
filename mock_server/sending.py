"""Sending a stream: sinks write to the connection as the engine goes; a slow client gets the rest here."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from aiohttp import web

from mock_server.choices import UNREAD_TIMEOUT_S
from mock_server.connection import WriteTo, written
from mock_server.fleet import Place
from mock_server.generation import WaitableSink, generate
from mock_server.reply import Reply


class StreamingSink(WaitableSink, Protocol):
    written: bool  # to its last byte

    def pump(self) -> None:
        """Writes what is made and not sent, or a good part of it."""


async def send_stream(
    request: web.Request,
    reply: Reply,
    sinks: Sequence[StreamingSink],
    place: Place,
    connection: WriteTo,
) -> web.StreamResponse:
    """Generates, and returns when the last byte is with the kernel or in the transport's bounded buffer."""
    await generate(reply, sinks, place)
    while not all(sink.written for sink in sinks):  # the client is slow: its backlog goes out as it reads
        try:
            await asyncio.wait_for(request.writer.drain(), UNREAD_TIMEOUT_S)
        except TimeoutError:
            connection.abort()
        if connection.is_closing():
            raise ConnectionResetError("the client left before its last token")
        for sink in sinks:
            sink.pump()
    return written(keep_alive=request.version >= (1, 1) and request.keep_alive)
