"""FaultyTransport: what a sink writes to, where its answer is to go wrong on the wire.

It takes the bytes of an answer apart again (head, SSE events, end), so it knows nothing of the sinks and they
nothing of it; only the answers that were chosen for a fault pay for it. A whole answer counts as one event,
and its body breaks in the middle.
"""

import asyncio
import socket
import struct
from collections.abc import Callable, Sequence

import orjson

from mock_server.fault_rules import AnyRule, Break, ErrorEvent, Omission, SlowTtft, Stall, WrongUsage
from mock_server.usage_faults import doctored

_HEAD_END = b"\r\n\r\n"
_CLOSING = frozenset({"cut", "reset", "malformed_chunk", "error_event"})
WIRE_RULES = (Break, ErrorEvent, Omission, SlowTtft, Stall, WrongUsage)


class FaultyTransport:
    """In a transport's place, for one answer. injected: told each kind as it happens, and whether it ended
    the answer. broke: one did."""

    def __init__(
        self,
        transport: asyncio.Transport,
        rules: Sequence[AnyRule],
        injected: Callable[[str, bool], None],
    ) -> None:
        self._transport = transport
        self._injected = injected
        self._loop = asyncio.get_running_loop()
        # what happens before the event of that number; of those that end the connection the first one
        self._due = sorted(
            (rule for rule in rules if not isinstance(rule, (Omission, WrongUsage))),
            key=lambda rule: (_place(rule), rule.kind in _CLOSING),
        )
        self._doctors = [rule for rule in rules if isinstance(rule, (Omission, WrongUsage))]
        self._told: set[str] = set()
        self.broke = False
        self._events = 0
        self._head: bytes | None = None
        self._chunked = self._whole = False
        self._silent = False  # while it stalls
        self._pending: list[tuple[bool, bytes]] = []  # (is an event, bytes) not looked at yet
        self._ended = False
        self._flushed: asyncio.Event = asyncio.Event()
        self._flushed.set()

    def is_closing(self) -> bool:
        return self._ended or self._transport.is_closing()

    def get_write_buffer_size(self) -> int:
        return sum(len(data) for _, data in self._pending) + self._transport.get_write_buffer_size()

    def abort(self) -> None:
        self._ended = True
        self._transport.abort()
        self._flushed.set()

    async def flushed(self) -> None:
        """Until nothing is held back."""
        await self._flushed.wait()

    def write(self, data: bytes) -> None:
        """Whole frames: as the sinks write them."""
        if self._ended:
            return
        self._pending += self._parts(data)
        self._go_on()

    def _parts(self, data: bytes) -> list[tuple[bool, bytes]]:
        if self._head is None:
            head, _, data = data.partition(_HEAD_END)
            self._head = head + _HEAD_END
            self._chunked = b"transfer-encoding: chunked" in head
            self._whole = b"content-length:" in head
        if self._whole:
            return [(True, data)]
        if not self._chunked:
            return [(True, event + b"\n\n") for event in data.split(b"\n\n") if event]
        parts = []
        while data:
            size, _, rest = data.partition(b"\r\n")
            length = int(size, 16)
            parts.append((length > 0, rest[:length] if length else b"0\r\n\r\n"))
            data = rest[length + 2 :]
        return parts

    def _go_on(self) -> None:
        while self._pending and not self._silent and not self._ended:
            is_event, data = self._pending[0]
            if is_event and self._due and (self._whole or _place(self._due[0]) <= self._events):
                self._happen(self._due.pop(0))
                continue
            self._pending.pop(0)
            if is_event:
                self._event(data)
            else:
                self._send(data)
        if self._ended or not (self._pending or self._silent):
            self._flushed.set()

    def _event(self, data: bytes) -> None:
        self._events += 1
        for rule in self._doctors:
            changed = doctored(rule, data, whole=self._whole)
            if changed != data:
                self._tell(rule.kind)
            data = changed
        if data:
            self._send(self._framed(data))

    def _framed(self, data: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data

    def _send(self, data: bytes) -> None:
        if self._transport.is_closing():  # the client left while this was held back
            self._ended = True
            return
        head, self._head = self._head, b""
        if head and self._whole:
            head = _with_length(head, len(data))
        self._transport.write((head or b"") + data)

    def _happen(self, rule: AnyRule) -> None:
        if rule.kind == "malformed_chunk" and not self._chunked:
            return
        if self._whole and _place(rule) > 0 and rule.kind in ("cut", "reset", "stall"):
            self._break_whole()
        if isinstance(rule, (SlowTtft, Stall)):
            self._silent = True
            self._flushed.clear()
            wait_s = rule.delay_s if isinstance(rule, SlowTtft) else rule.for_s
            self._loop.call_later(wait_s, self._wake)
        elif isinstance(rule, ErrorEvent):
            self._error(rule)
        elif rule.kind == "malformed_event":
            self._garble_event()
        elif rule.kind == "reset":
            self._reset()
        else:
            if rule.kind == "malformed_chunk":
                self._send(b"zz\r\n")
            self._end()
        self.broke = rule.kind in _CLOSING
        self._tell(rule.kind)

    def _garble_event(self) -> None:
        _, data = self._pending.pop(0)
        self._events += 1
        body = data.rstrip(b"\n")
        self._send(self._framed(body[: max(len(body) // 2, 1)] + data[len(body) :]))

    def _break_whole(self) -> None:
        """Half of the body goes out, under the head of all of it."""
        _, data = self._pending.pop(0)
        half = len(data) // 2
        head, self._head = self._head, b""
        if not self._transport.is_closing():
            self._transport.write((head or b"") + data[:half])
        self._pending.insert(0, (False, data[half:]))

    def _error(self, rule: ErrorEvent) -> None:
        body = orjson.dumps({"code": rule.code, "error": rule.error})
        if self._whole:
            self._send(body)
        else:
            self._send(self._framed(b"data: %b\n\n" % body) + (b"0\r\n\r\n" if self._chunked else b""))
        self._end()

    def _reset(self) -> None:
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.abort()

    def _end(self) -> None:
        """What is buffered still goes out; then the connection closes, and its handler is cancelled."""
        self._ended = True
        self._pending.clear()
        if not self._transport.is_closing():
            self._transport.close()
        self._flushed.set()

    def _wake(self) -> None:
        self._silent = False
        self._go_on()

    def _tell(self, kind: str) -> None:
        if kind not in self._told:
            self._told.add(kind)
            self._injected(kind, self.broke)


def _place(rule: AnyRule) -> int:
    """How many events go before it."""
    return 0 if isinstance(rule, SlowTtft) else int(getattr(rule, "after_events", 0))


def _with_length(head: bytes, length: int) -> bytes:
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length:")]
    lines.insert(1, b"content-length: %d" % length)
    return b"\r\n".join(lines)
