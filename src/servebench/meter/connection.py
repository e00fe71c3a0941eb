"""One connection: a state machine of callbacks on a non-blocking socket, for one exchange at a time.

The read callback is the hot path: read at most one frame, take the kernel's stamp, hand the bytes on. It
starts no timer and allocates little; deadlines are looked at by the engine's wheel. A kept-alive connection
that the server closed before the first byte of an answer is replaced by a fresh one, once; the time of the
first send stays. An address that does not answer gives way to the next one in time.
"""

import errno
import os
import socket
import time
from typing import Any, Final

from servebench.meter.call import Call
from servebench.meter.exchange import Exchange, OnDone
from servebench.meter.head import rate_limits
from servebench.meter.http1 import ResponseParser
from servebench.meter.owner import Owner
from servebench.meter.stream import AnswerReader, Ending
from servebench.meter.timestamps import ANCILLARY_BYTES, ask_for_stamps, unpack_timespec

_READ: Final = 1  # masks of the event loop
_WRITE: Final = 2
_NOTHING: Final = memoryview(b"")
_IN_TIME_NS: Final = 1_000_000  # a loop that reads within this,
_CALM_GAP_NS: Final = 4_000_000  # on a stream whose frames come no faster than this,
_NEVER: Final = 1 << 62
_CALM: Final = 8  # for so many reads, finds one frame at a time: it may take it in one read
_now_ns = time.monotonic_ns


class Connection:
    """send(call, on_done), then wait for on_done. usable: whether it may carry another exchange."""

    __slots__ = (
        "_alone_ns",
        "_answer",
        "_at_ns",
        "_calm",
        "_connected",
        "_engine",
        "_exchange",
        "_lag",
        "_last_ns",
        "_opened_ns",
        "_out",
        "_parser",
        "_place",
        "_reader",
        "_received",
        "_recvmsg",
        "_scheduled",
        "_sending",
        "_sock",
        "_stamps",
        "_tries",
        "_writer",
        "usable",
    )

    def __init__(self, engine: Owner) -> None:
        self._engine = engine
        self._stamps = engine.stamps
        self._lag = engine.lag.push
        self._sock: Any = None
        self._reader: Any = None
        self._writer: Any = None
        self._exchange: Exchange | None = None
        self._parser = ResponseParser()
        self._answer = AnswerReader()
        self._out = _NOTHING
        self._connected = self._scheduled = self._sending = self.usable = False
        self._place = self._tries = self._calm = self._at_ns = self._received = self._last_ns = 0
        self._opened_ns = 0
        self._alone_ns = _NEVER

    def send(self, call: Call, on_done: OnDone) -> None:
        """Connect if need be and send. Faults come through on_done, later."""
        now_ns = _now_ns()
        exchange = Exchange(call, on_done, now_ns=now_ns, secrets=self._engine.secrets)
        exchange.reused, self.usable = self.usable, False
        self._sending = True
        self._attempt(exchange)
        self._sending = False
        self._schedule(now_ns)

    def _attempt(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._parser, self._answer = exchange.parser, exchange.answer
        self._received = self._calm = 0
        self._alone_ns = _NEVER
        self._last_ns = exchange.started_ns
        self._out = _NOTHING
        if exchange.reused:
            self._engine.reused += 1
            self._ask(exchange)
        else:
            self._tries = 0
            self._open()

    # connecting

    def _open(self) -> None:
        """Connect to the address that worked last, else to the next ones."""
        engine = self._engine
        # a neighbour may find another good address meanwhile: the round goes on from where it began
        self._place = (self._place + 1) % len(engine.addresses) if self._tries else engine.good_address
        family, address = engine.addresses[self._place]
        if not self._tries:  # addresses that failed are part of what connecting took
            self._opened_ns = _now_ns()
        try:
            self._sock = sock = engine.socket_class(family, socket.SOCK_STREAM)
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._stamps.kernel:
                ask_for_stamps(sock)
            code = sock.connect_ex(address)
        except OSError as fault:
            self._not_connected(fault.errno or errno.EIO)
            return
        if code not in (0, errno.EINPROGRESS):
            self._not_connected(code)
            return
        self._recvmsg = sock.recvmsg
        self._reader = engine.hub.loop.io(sock.fileno(), _READ)
        self._writer = engine.hub.loop.io(sock.fileno(), _WRITE)
        self._greet()

    def _greet(self) -> None:
        """The first thing to send: over loopback the connection stands by now, so try at once."""
        if self._exchange is not None:
            self._ask(self._exchange)

    def _not_connected(self, code: int) -> None:
        self.close()
        self._tries += 1
        if self._tries < len(self._engine.addresses):
            self._open()
            return
        hint = " (raise the limit on open files, ulimit -n)" if code in (errno.EMFILE, errno.ENFILE) else ""
        where = self._engine.target.authority
        self.end(Ending.NO_CONNECTION, f"no connection to {where}: {os.strerror(code)}{hint}")

    # sending

    def _ask(self, exchange: Exchange) -> None:
        payload = self._engine.request_bytes(exchange.call)
        exchange.request_bytes = len(payload)
        exchange.asked = True
        self._out = self._encode(payload)
        self._transmit()

    def _encode(self, payload: bytes) -> memoryview:
        return memoryview(payload)

    def _transmit(self) -> None:
        now_ns = _now_ns()
        try:
            sent = self._sock.send(self._out)
        except BlockingIOError:
            self._writer.start(self._writable)
            return
        except OSError as fault:
            if fault.errno == errno.ENOTCONN and not self._connected:  # macOS says so instead of EAGAIN
                self._writer.start(self._writable)
            elif not self._connected:
                self._not_connected(fault.errno or errno.EIO)
            else:  # an answer may have come before the connection broke: the read side will tell
                self._out = _NOTHING
                self._writer.stop()
            return
        exchange = self._exchange
        if not self._connected:
            self._connected = True
            self._engine.opened += 1
            self._engine.good_address = self._place
            self._reader.start(self._readable)
            if exchange is not None and not exchange.retries:  # else it was opened after the first send
                exchange.connect_ns = now_ns - self._opened_ns
        if exchange is not None and exchange.asked and exchange.opening_ns is not None:
            exchange.opening_ns = None
            if exchange.sent_ns is None:
                exchange.sent_ns = now_ns
        self._out = self._out[sent:]
        if self._out:
            self._writer.start(self._writable)
        else:
            self._out = _NOTHING
            self._writer.stop()

    def _writable(self) -> None:
        if not self._connected:
            code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                self._not_connected(code)
                return
        if self._out:
            self._transmit()
        else:
            self._writer.stop()

    # receiving

    def _readable(self) -> None:
        exchange = self._exchange
        if exchange is None:
            self._idle_event()
            return
        parser, answer, stamps = self._parser, self._answer, self._stamps
        now_ns = _now_ns()
        alone = self._calm >= _CALM and stamps.lag_ns < _IN_TIME_NS and now_ns - self._at_ns < self._alone_ns
        size = parser.roomy if alone else parser.want
        while True:
            try:
                data, ancillary, _, _ = self._recvmsg(size, ANCILLARY_BYTES)
            except OSError as fault:
                self._not_read(exchange, fault)
                return
            if not data:
                self._eof(exchange, now_ns)
                return
            if ancillary:
                seconds, nanoseconds = unpack_timespec(ancillary[0][2])
                at_ns = seconds * 1_000_000_000 + nanoseconds - stamps.offset_ns
                stamps.lag_ns = lag_ns = now_ns - at_ns
                self._lag(lag_ns)
            else:
                at_ns = now_ns
                self._unstamped(exchange)
            self._last_ns = now_ns
            self._received += len(data)
            pieces = parser.feed(data)
            if not exchange.begun and parser.status:
                exchange.begin_answer()
            for piece in pieces:
                answer.feed(piece, at_ns)
            if not ancillary:
                exchange.user_stamps += len(answer.times)
            if parser.ended:
                self._ended(at_ns)
                return
            if pieces:
                self._learn_pace(at_ns)
                return
            if not parser.inside:
                return
            size = parser.want
            now_ns = _now_ns()

    def _learn_pace(self, at_ns: int) -> None:
        """A frame has come. Two can't within one and a half of the shortest gap of late."""
        gap_ns = at_ns - self._at_ns
        self._at_ns = at_ns
        if gap_ns < _CALM_GAP_NS:
            self._calm, self._alone_ns = 0, _NEVER
            return
        self._calm += 1
        alone_ns = gap_ns + (gap_ns >> 1)
        if alone_ns < self._alone_ns:
            self._alone_ns = alone_ns
        else:  # one short gap is forgotten in some dozen frames
            self._alone_ns += (alone_ns - self._alone_ns) >> 4

    def _not_read(self, exchange: Exchange, fault: OSError) -> None:
        if not isinstance(fault, BlockingIOError):
            self._lost(exchange, fault.strerror or "the connection broke")

    def _unstamped(self, exchange: Exchange) -> None:
        """No stamp from the kernel. user_stamps goes down by the chunks so far, and up again after them."""
        exchange.unstamped = True
        exchange.user_stamps -= len(exchange.answer.times)
        if self._stamps.kernel:
            self._engine.missing_stamps += 1

    def _eof(self, exchange: Exchange, now_ns: int) -> None:
        parser = self._parser
        if parser.untouched:
            self._lost(exchange, "closed by the server")
            return
        parser.feed_eof()
        if parser.error:
            self.end(Ending.CUT, "the connection ended inside the response")
        else:
            self._ended(now_ns)

    def _ended(self, at_ns: int) -> None:
        if self._parser.error:
            self.end(Ending.MALFORMED, self._parser.error)
        else:
            self.end(Ending.COMPLETE, at_ns=at_ns)

    def _lost(self, exchange: Exchange, reason: str) -> None:
        """Closed or reset. Kept alive, and before any byte of the answer: stale, try a fresh connection."""
        if not self._parser.untouched:
            self.end(Ending.CUT, reason)
        elif exchange.reused:
            self._engine.stale_retries += 1
            self.close()
            exchange.retries = 1
            exchange.opening_ns = _now_ns()
            exchange.reused = exchange.asked = False
            self._attempt(exchange)
        else:
            self.end(Ending.CUT, f"{reason} before the answer began")

    def _idle_event(self) -> None:
        """Closed by the server while idle, or bytes that nobody asked for."""
        self._engine.forget(self)
        self.close()

    # ending

    def visit(self, now_ns: int) -> None:
        """The wheel's look: end what is past its deadline."""
        self._scheduled = False
        if self._unanswered(now_ns):
            self._not_connected(errno.ETIMEDOUT)
        if self._exchange is None:
            return
        deadline_ns, ending, reason = self._exchange.deadline(self._engine.timeouts, self._last_ns)
        if now_ns >= deadline_ns:
            self.end(ending, reason)
        else:
            self._schedule(now_ns, deadline_ns)

    def _unanswered(self, now_ns: int) -> bool:
        """Whether the address being tried has had its part of the time to connect, and another is left."""
        engine, tries = self._engine, self._tries + 1
        return (
            self._exchange is not None
            and not self._connected
            and tries < len(engine.addresses)
            and now_ns >= self._opened_ns + tries * engine.connect_ns
        )

    def _schedule(self, now_ns: int, deadline_ns: int = 1 << 62) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._engine.wheel.add(self, min(deadline_ns, now_ns + self._engine.horizon_ns))

    def end(self, ending: Ending, reason: str = "", *, at_ns: int | None = None) -> None:
        """The exchange is over: on_done gets its record. Nothing happens if it was over before."""
        exchange = self._exchange
        if exchange is None:
            return
        if self._sending:  # on_done never comes before submit returns
            self._engine.hub.loop.run_callback(self._end_later, exchange, ending, reason)
            return
        self._exchange = None
        if self._engine.rate_limits is None and self._parser.status:
            self._engine.rate_limits = rate_limits(self._parser.headers)
        self.usable = ending is Ending.COMPLETE and self._parser.keep_alive and not self._out
        record, chunk_us = exchange.record(
            ending,
            reason,
            end_ns=_now_ns() if at_ns is None else at_ns,
            t0_ns=self._engine.t0_ns,
            response_bytes=self._received,
        )
        self._parser, self._answer = ResponseParser(), AnswerReader()
        self._engine.finished(self, record, chunk_us, exchange.on_done)

    def _end_later(self, exchange: Exchange, ending: Ending, reason: str) -> None:
        if self._exchange is exchange:
            self.end(ending, reason)

    def close(self) -> None:
        """Free the socket; the object may open another."""
        sock, self._sock = self._sock, None
        self._connected = self.usable = False
        self._out = _NOTHING
        if sock is None:
            return
        for watcher in (self._reader, self._writer):
            if watcher is not None:
                watcher.stop()
                watcher.close()
        self._reader = self._writer = None
        sock.close()
