"""The connection as answers see it: what they write to, and a response that went past aiohttp's own writing.

A stream has to (one write an event); a whole answer saves a third of aiohttp's work for a request.
"""

import asyncio
import os
from typing import Protocol

from aiohttp import web


class WriteTo(Protocol):
    """Of asyncio.Transport what an answer uses."""

    def write(self, data: bytes) -> None: ...

    def is_closing(self) -> bool: ...

    def get_write_buffer_size(self) -> int: ...

    def abort(self) -> None: ...


def direct_fd(connection: WriteTo) -> int:
    """The descriptor of a transport that is a plain socket, or -1 where bytes are to go through what it is
    (TLS, faults)."""
    extra = getattr(connection, "get_extra_info", None)
    if extra is None or os.name != "posix" or extra("sslcontext") is not None:
        return -1
    sock = extra("socket")
    return -1 if sock is None else int(sock.fileno())


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


# a written response has no state of its own, and making one costs as much as its head
_KEPT, _CLOSED = WrittenResponse(keep_alive=True), WrittenResponse(keep_alive=False)


def written(*, keep_alive: bool) -> WrittenResponse:
    return _KEPT if keep_alive else _CLOSED


def connection_of(request: web.Request) -> asyncio.Transport:
    if request.transport is None:  # the client has left
        raise asyncio.CancelledError
    return request.transport
