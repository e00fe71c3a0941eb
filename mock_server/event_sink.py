"""EventSink: the tokens of one sequence as SSE events on a connection.

One event per emission of the engine, one HTTP chunk per event. Most events are plain: they differ in their
text and perhaps a number. What they have in common is encoded once, so that one costs a format and a write,
and can be made before its time. A client that doesn't read costs no memory: past UNREAD_BYTES its tokens are
only counted, and encoded once it reads.
"""

import asyncio
import os
from abc import abstractmethod

from mock_server.choices import UNREAD_BYTES
from mock_server.connection import WriteTo, direct_fd
from mock_server.sink import Prepared, Sink

EVENTS_PER_WRITE = 512  # of a backlog, whose tokens go one to an event


class EventSink(Sink):
    """chunked False: HTTP/1.0, where the end of the connection ends the body. alone: no other sink writes to
    the connection."""

    def __init__(self, transport: WriteTo, *, chunked: bool, alone: bool) -> None:
        self.last_s = -1.0
        self.engine_done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.written = False  # to the last byte
        self._transport = transport
        self._fd = direct_fd(transport) if alone else -1
        self._chunked = chunked
        self._made = self._sent = 0  # tokens
        self._second = 0
        self._number = 0  # of the next event, where they are numbered
        self._plain_from = self._plain_to = 0  # tokens that go out as plain events

    @abstractmethod
    def _encode(self, stride: int, first_token_s: float | None = None) -> bytes:
        """What is made and not sent, or a good part of it, `stride` tokens an event; at the end all that ends
        a stream. It counts as sent. first_token_s: engine time, where the step of the first token is still in
        flight."""

    @abstractmethod
    def _plain_event(self, start: int, end: int) -> bytes:
        """Tokens start..end-1 as a plain event in its HTTP chunk."""

    def pump(self) -> None:
        """Writes what is made and not sent, or a good part of it."""
        self._write(self._encode(1))

    def _turn(self, second: int) -> None:
        """Events say another second from now on."""
        self._second = second

    def emit(self, tokens: int, second: int, finished: bool) -> None:
        start = self._made
        made = self._made = start + tokens
        transport = self._transport
        if finished and not self.engine_done.done():
            self.engine_done.set_result(None)
        if transport.is_closing() or transport.get_write_buffer_size() > UNREAD_BYTES:
            return
        if second != self._second:
            self._turn(second)
        caught_up = self._sent == start
        if caught_up and self._plain_from <= start and made <= self._plain_to and not finished:
            event = self._plain_event(start, made)
            self._number += 1
            self._sent = made
            self._write(event)
            return
        self._write(self._encode(tokens if caught_up else 1))

    def _write(self, data: bytes) -> None:
        """To the kernel at once where nothing waits before it: the transport's own write waits for the end of
        the event loop's turn."""
        transport = self._transport
        if not data:
            return
        if self._fd < 0 or transport.get_write_buffer_size() or transport.is_closing():
            transport.write(data)
            return
        try:
            size = os.write(self._fd, data)
        except OSError:  # full, or broken: the transport will see to it
            size = 0
        if size != len(data):
            transport.write(data[size:])

    def prepare(self, second: int, end_s: float, finished: bool) -> Prepared | None:
        start, transport = self._made, self._transport
        if self._fd < 0 or self._sent != start or transport.get_write_buffer_size() or transport.is_closing():
            return None
        if second != self._second:
            self._turn(second)
        self._made = start + 1
        if self._plain_from <= start < self._plain_to and not finished:
            event = self._plain_event(start, start + 1)
            self._number += 1
            self._sent = start + 1
            return transport, self._fd, event
        return transport, self._fd, self._encode(1, end_s)

    def prepared_end(self) -> None:
        if not self.engine_done.done():
            self.engine_done.set_result(None)

    def _framed(self, event: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(event), event) if self._chunked else event
