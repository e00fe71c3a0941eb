"""One connection: a state machine of callbacks on a non-blocking socket, for one exchange at a time.

Reading is the hot path (steady.py; here is its long way): read at most one frame, take the kernel's stamp,
hand the bytes on. It starts no timer; deadlines are looked at by the engine's wheel. A kept-alive connection
that the server closed before the first byte of an answer is replaced by a fresh one, once; the time of the
first send stays. An address that does not answer gives way to the next one in time.
"""

import errno
import time

from servebench.meter.call import Call
from servebench.meter.dial import Dial, no_connection
from servebench.meter.ending import Ending
from servebench.meter.exchange import Exchange, OnDone
from servebench.meter.head import rate_limits
from servebench.meter.owner import Owner
from servebench.meter.steady import NO_ANSWER, NO_RESPONSE, SteadyReader
from servebench.meter.timestamps import ANCILLARY_BYTES
from servebench.meter.wire import Wire

_now_ns = time.monotonic_ns


class Connection(SteadyReader):
    """send(call, on_done), then wait for on_done. usable: whether it may carry another exchange."""

    __slots__ = ("_dial", "_engine", "_exchange", "_last_ns", "_scheduled", "_sending", "_wire", "usable")

    def __init__(self, engine: Owner) -> None:
        super().__init__(engine)
        self._engine = engine
        self._dial = Dial(engine)
        self._wire = Wire(engine)
        self._exchange: Exchange | None = None
        self._scheduled = self._sending = self.usable = False
        self._last_ns = 0  # of the last read that went the long way

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
        self.restart(exchange.parser, exchange.answer)
        self._last_ns = exchange.started_ns
        if exchange.reused:
            self._engine.reused += 1
            self._ask(exchange)
        else:
            self._dial.restart()
            self._open()

    # connecting

    def _open(self) -> None:
        """Connect to the address that worked last, else to the next ones."""
        try:
            sock = self._dial.open()
        except OSError as fault:
            self._not_connected(fault.errno or errno.EIO)
            return
        self._sock = sock
        self._wire.open(sock)
        self._greet()

    def _greet(self) -> None:
        """The first thing to send: over loopback the connection stands by now, so try at once."""
        if self._exchange is not None:
            self._ask(self._exchange)

    def _not_connected(self, code: int) -> None:
        self.close()
        if self._dial.failed():
            self._open()
        else:
            self.end(Ending.NO_CONNECTION, no_connection(self._engine.target, code))

    # sending

    def _ask(self, exchange: Exchange) -> None:
        payload = self._engine.request_bytes(exchange.call)
        exchange.request_bytes = len(payload)
        exchange.asked = True
        self._wire.put(self._encode(payload))
        self._transmit()

    def _encode(self, payload: bytes) -> bytes:
        return payload

    def _transmit(self) -> None:
        wire, exchange = self._wire, self._exchange
        fresh = not wire.connected
        now_ns = _now_ns()
        try:
            if not wire.flush(self._writable):
                return
        except OSError as fault:
            if fresh:
                self._not_connected(fault.errno or errno.EIO)
            return  # else an answer may have come before the connection broke: the read side will tell
        if fresh:
            self._dial.answered()
            wire.listen(self)
            if exchange is not None and not exchange.retries:  # else it was opened after the first send
                exchange.connect_ns = now_ns - self._dial.opened_ns
        if exchange is not None:
            exchange.goes_out(now_ns)

    def _writable(self) -> None:
        code = 0 if self._wire.connected else self._wire.refused()
        if code:
            self._not_connected(code)
        else:
            self._transmit()

    # receiving

    def read(self) -> None:
        again = True
        while again:
            now_ns = _now_ns()
            try:
                data, ancillary, _, _ = self._sock.recvmsg(self._parser.want, ANCILLARY_BYTES)
            except OSError as fault:
                self.not_read(fault)
                return
            again = self.take(data, ancillary, now_ns)

    def came_late(self) -> None:
        """The kernel's timer may have acknowledged, and it would each chunk from then on, at a fifth of what
        a chunk costs here: being late would go on by itself. On a first request it does so anyway.
        """
        if self._exchange is not None and self._exchange.reused:
            self._wire.acknowledge_less()

    def take(self, data: bytes, ancillary: list[tuple[int, int, bytes]], now_ns: int) -> bool:
        exchange, parser = self._exchange, self._parser
        if exchange is None:
            self._engine.forget(self)  # closed while idle, or bytes that nobody asked for
            return False
        if not data:
            self._eof(exchange, now_ns)
            return False
        at_ns = self.stamp(ancillary, now_ns)
        pieces = self._digest(exchange, data, at_ns, stamped=bool(ancillary))
        self._last_ns = now_ns
        if parser.ended:
            self._ended(at_ns)
        elif pieces:
            self.look()
        else:
            return parser.inside
        return False

    def _digest(self, exchange: Exchange, data: bytes, at_ns: int, *, stamped: bool) -> list[bytes]:
        """HTTP as it comes; returns the pieces of body in it."""
        parser, answer = self._parser, self._answer
        if not stamped:
            self._unstamped(exchange)
        self._received += len(data)
        pieces = parser.feed(data)
        if not exchange.begun and parser.status:
            exchange.begin_answer()
        for piece in pieces:
            answer.feed(piece, at_ns)
        if not stamped:
            exchange.user_stamps += len(answer.times)
        return pieces

    def not_read(self, fault: OSError) -> None:
        exchange = self._exchange
        if exchange is None:
            self._engine.forget(self)
        elif not isinstance(fault, BlockingIOError):
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
            exchange.goes_again(_now_ns())
            self._attempt(exchange)
        else:
            self.end(Ending.CUT, f"{reason} before the answer began")

    # ending

    def visit(self, now_ns: int) -> None:
        """The wheel's look: end what is past its deadline."""
        self._scheduled = False
        connecting = self._exchange is not None and not self._wire.connected
        if connecting and self._dial.overdue(now_ns):
            self._not_connected(errno.ETIMEDOUT)
        if self._exchange is None:
            return
        last_ns = max(self._last_ns, self._times[-1]) if self._times else self._last_ns
        deadline_ns, ending, reason = self._exchange.deadline(self._engine.timeouts, last_ns)
        if now_ns >= deadline_ns:
            self.end(ending, reason)
        else:
            self._schedule(now_ns, deadline_ns)

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
        self.usable = ending is Ending.COMPLETE and self._parser.keep_alive and self._wire.idle
        record, chunk_us = exchange.record(
            ending,
            reason,
            end_ns=_now_ns() if at_ns is None else at_ns,
            t0_ns=self._engine.t0_ns,
            response_bytes=self._received,
        )
        self._parser, self._answer, self._times = NO_RESPONSE, NO_ANSWER, NO_ANSWER.times
        self._alone_ns = 0
        self._engine.finished(self, record, chunk_us, exchange.on_done)

    def _end_later(self, exchange: Exchange, ending: Ending, reason: str) -> None:
        if self._exchange is exchange:
            self.end(ending, reason)

    def close(self) -> None:
        """Free the socket; the object may open another."""
        self._wire.close()
        self.usable = False
