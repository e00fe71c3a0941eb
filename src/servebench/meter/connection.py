"""One connection: a state machine of callbacks on a non-blocking socket, for one request at a time.

The read callback is the hot path: read at most one frame, take the kernel's stamp, hand the bytes on. It starts no
timer and allocates little; deadlines are looked at by the engine's wheel. A kept-alive connection that the server closed
before the first byte of an answer is replaced by a fresh one, once; the time of the first send stays.
"""

import errno
import os
import socket
import ssl
import time
from array import array
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from servebench.meter.call import Call
from servebench.meter.http1 import ResponseParser
from servebench.meter.record import RequestRecord
from servebench.meter.stream import AnswerReader, Ending
from servebench.meter.timestamps import ANCILLARY_BYTES, ask_for_stamps, unpack_timespec
from servebench.meter.tls import TlsChannel

if TYPE_CHECKING:
    from servebench.meter.engine_loop import EngineLoop

OnDone = Callable[[RequestRecord, "array[int]"], None]

_READ: Final = 1  # masks of the event loop
_WRITE: Final = 2
_LARGE_BODY: Final = 16384
_NOTHING: Final = memoryview(b"")
_now_ns = time.monotonic_ns


class Connection:
    """send(call, on_done), then wait for on_done. usable: whether it may carry another request."""

    __slots__ = (
        "_answer",
        "_asked",
        "_begun",
        "_call",
        "_connected",
        "_engine",
        "_lag",
        "_last_ns",
        "_on_done",
        "_out",
        "_parser",
        "_reader",
        "_recvmsg",
        "_retries",
        "_reused",
        "_scheduled",
        "_sending",
        "_sent_ns",
        "_size",
        "_sock",
        "_stamped",
        "_stamps",
        "_started_ns",
        "_tls",
        "_tries",
        "_user_stamps",
        "_writer",
        "usable",
    )

    def __init__(self, engine: "EngineLoop") -> None:
        self._engine = engine
        self._stamps = engine.stamps
        self._lag = engine.lag.push
        self._sock: Any = None
        self._call: Call | None = None
        self._connected = self._scheduled = self._sending = False
        self.usable = False

    # sending

    def send(self, call: Call, on_done: OnDone) -> None:
        """Connect if need be and send. Faults come through on_done, later."""
        self._call = call
        self._on_done = on_done
        self._started_ns = self._last_ns = _now_ns()
        self._sent_ns: int | None = None
        self._retries = 0
        self._reused = self.usable
        self.usable = False
        self._sending = True
        self._begin_request()
        if self._reused:
            self._engine.reused += 1
            self._ask()
        else:
            self._tries = 0
            self._open()
        self._sending = False
        self._schedule(self._started_ns)

    def _begin_request(self) -> None:
        self._answer = AnswerReader(self._engine.secrets)
        self._parser = ResponseParser()
        self._out = _NOTHING
        self._size = self._user_stamps = 0
        self._asked = self._begun = False
        self._stamped = True

    def _open(self) -> None:
        """Connect to the address that worked last, the next ones after it."""
        engine = self._engine
        place = (engine.good_address + self._tries) % len(engine.addresses)
        family, address = engine.addresses[place]
        try:
            self._sock = sock = engine.socket_class(family, socket.SOCK_STREAM)
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._stamps.kernel:
                ask_for_stamps(sock)
            state = sock.connect_ex(address)
        except OSError as fault:
            self._not_connected(fault.errno or errno.EIO)
            return
        if state not in (0, errno.EINPROGRESS):
            self._not_connected(state)
            return
        self._recvmsg = sock.recvmsg
        self._reader = engine.hub.loop.io(sock.fileno(), _READ)
        self._writer = engine.hub.loop.io(sock.fileno(), _WRITE)
        self._tls = None if engine.tls is None else TlsChannel(engine.tls, engine.target.host)
        if self._tls is None:
            self._ask()  # over loopback the handshake is over by now
        else:
            self._out = memoryview(self._tls.hello())
            self._transmit()

    def _not_connected(self, code: int) -> None:
        self.close()
        self._tries += 1
        if self._tries < len(self._engine.addresses):
            self._open()
            return
        hint = " (raise the limit on open files, ulimit -n)" if code in (errno.EMFILE, errno.ENFILE) else ""
        self.end(
            Ending.NO_CONNECTION,
            f"no connection to {self._engine.target.authority}: {os.strerror(code)}{hint}",
        )

    def _ask(self) -> None:
        assert self._call is not None
        payload = self._engine.request_bytes(self._call)
        self._size = len(payload)
        self._asked = True
        self._out = memoryview(payload if self._tls is None else self._tls.encrypt(payload))
        self._transmit()

    def _transmit(self) -> None:
        now_ns = _now_ns()
        try:
            sent = self._sock.send(self._out)
        except BlockingIOError:
            self._writer.start(self._writable)
            return
        except OSError as fault:
            if not self._connected:
                self._not_connected(fault.errno or errno.EIO)
            else:  # an answer may have come before the connection broke: the read side will tell
                self._out = _NOTHING
                self._writer.stop()
            return
        if not self._connected:
            self._connected = True
            self._engine.opened += 1
            self._engine.good_address = (self._engine.good_address + self._tries) % len(
                self._engine.addresses
            )
            self._reader.start(self._readable if self._tls is None else self._readable_tls)
        if self._asked:
            self._last_ns = now_ns
            if self._sent_ns is None:
                self._sent_ns = now_ns
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
        if self._call is None:
            self._idle_event()
            return
        parser, answer = self._parser, self._answer
        while True:
            now_ns = _now_ns()
            try:
                data, ancillary, _, _ = self._recvmsg(parser.want, ANCILLARY_BYTES)
            except BlockingIOError:
                return
            except OSError as fault:
                self._lost(fault.strerror or "connection lost")
                return
            if not data:
                self._eof(now_ns)
                return
            counted = 0
            if ancillary:
                seconds, nanoseconds = unpack_timespec(ancillary[0][2])
                at_ns = seconds * 1_000_000_000 + nanoseconds - self._stamps.offset_ns
                self._lag(now_ns - at_ns)
            else:
                at_ns = now_ns
                counted = self._unstamped()
            self._last_ns = now_ns
            pieces = parser.feed(data)
            if not self._begun and parser.status:
                self._begin_answer()
            for piece in pieces:
                answer.feed(piece, at_ns)
            if not ancillary:
                self._user_stamps += len(answer.times) - counted
            if parser.ended:
                self._ended(at_ns)
                return
            if pieces or not parser.inside:
                return

    def _unstamped(self) -> int:
        """A read without the kernel's stamp; returns how many chunks were there before it."""
        self._stamped = False
        if self._stamps.kernel:
            self._engine.missing_stamps += 1
        return len(self._answer.times)

    def _begin_answer(self) -> None:
        parser = self._parser
        self._begun = True
        self._answer.begin(parser.status, parser.headers.get("content-type", ""), framed=parser.framed)
        if self._call is not None and len(self._call.body) > _LARGE_BODY:
            self._call = replace(self._call, body=b"")  # a long prompt need not live as long as its answer

    def _eof(self, now_ns: int) -> None:
        parser = self._parser
        if parser.untouched:
            self._lost("closed by the server")
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

    def _lost(self, reason: str) -> None:
        """Closed or reset. Before any byte of the answer, on a kept-alive connection: stale, try a fresh one once."""
        if self._parser.untouched:
            if self._reused and self._retries == 0:
                self._engine.stale_retries += 1
                self._retries = 1
                self._reused = False
                self.close()
                self._begin_request()
                self._tries = 0
                self._open()
                return
            reason += " before the answer began"
        self.end(Ending.CUT, reason)

    def _idle_event(self) -> None:
        """Closed by the server while idle, or bytes that nobody asked for."""
        self.usable = False
        self._engine.forget(self)
        self.close()

    # ending

    def visit(self, now_ns: int) -> None:
        """The wheel's look: end what is past its deadline."""
        self._scheduled = False
        if self._call is None:
            return
        deadline_ns, ending, reason = self._deadline()
        if now_ns >= deadline_ns:
            self.end(ending, reason)
        else:
            self._schedule(now_ns, deadline_ns)

    def _schedule(self, now_ns: int, deadline_ns: int = 1 << 62) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._engine.wheel.add(self, min(deadline_ns, now_ns + self._engine.horizon_ns))

    def _deadline(self) -> tuple[int, Ending, str]:
        limits = self._engine.timeouts
        if self._sent_ns is None:
            limit_s, since_ns, ending = limits.connect_s, self._started_ns, Ending.NO_CONNECTION
        elif not self._answer.body_begun:
            limit_s, since_ns, ending = limits.first_byte_s, self._sent_ns, Ending.NO_FIRST_BYTE
        else:
            limit_s, since_ns, ending = limits.idle_s, self._last_ns, Ending.IDLE
        deadline_ns = since_ns + int(limit_s * 1e9)
        total_ns = self._started_ns + int(limits.total_s * 1e9)
        if total_ns < deadline_ns:
            return total_ns, ending, f"not done within the total time of {limits.total_s:g} s"
        return deadline_ns, ending, f"{ending.value} ({limit_s:g} s)"

    def end(self, ending: Ending, reason: str = "", *, at_ns: int | None = None) -> None:
        """The request is over: on_done gets its record. Nothing happens if it was over before."""
        call = self._call
        if call is None:
            return
        if self._sending:  # on_done never comes before submit returns
            self._engine.hub.loop.run_callback(self._end_later, call, ending, reason)
            return
        self._call = None
        self.usable = ending is Ending.COMPLETE and self._parser.keep_alive and not self._out
        record, chunk_us = self._record(call, ending, reason, _now_ns() if at_ns is None else at_ns)
        self._parser, self._answer = ResponseParser(), AnswerReader()
        self._engine.finished(self, record, chunk_us, self._on_done)

    def _end_later(self, call: Call, ending: Ending, reason: str) -> None:
        if self._call is call:
            self.end(ending, reason)

    def _record(
        self, call: Call, ending: Ending, reason: str, end_ns: int
    ) -> "tuple[RequestRecord, array[int]]":
        answer, t0_ns = self._answer, self._engine.t0_ns
        streamed = len(answer.times)
        outcome, error = answer.judge(ending, reason)
        if not self._stamped and len(answer.times) > streamed:
            self._user_stamps += 1
        times = answer.times
        chunk_us, coalesced = answer.chunk_us(self._sent_ns or self._started_ns)
        visible_ns = answer.first_visible_ns
        record = RequestRecord(
            id=call.id,
            class_name=call.class_name,
            session=call.session,
            turn=call.turn,
            model=call.model,
            intended_ns=call.intended_ns,
            sent_ns=None if self._sent_ns is None else self._sent_ns - t0_ns,
            first_token_ns=times[0] - t0_ns if times else None,
            first_visible_ns=None if visible_ns is None else visible_ns - t0_ns,
            last_token_ns=times[-1] - t0_ns if times else None,
            end_ns=end_ns - t0_ns,
            outcome=outcome,
            status=answer.status or None,
            error=error,
            finish_reason=answer.finish_reason,
            service_tier=answer.service_tier,
            chunks=len(times),
            reasoning_chunks=answer.reasoning_chunks,
            tool_calls=answer.tool_calls,
            user_stamps=self._user_stamps,
            coalesced=coalesced,
            reused_connection=self._reused,
            request_bytes=self._size,
            asked_output_tokens=call.asked_output_tokens,
            retries=self._retries,
            **answer.usage_facts(),
        )
        return record, chunk_us

    def close(self) -> None:
        """Free the socket; the object may open another."""
        sock, self._sock = self._sock, None
        self._connected = self.usable = False
        self._out = _NOTHING
        if sock is not None:
            if self._reader is not None:
                for watcher in (self._reader, self._writer):
                    watcher.stop()
                    watcher.close()
                self._reader = self._writer = None
            sock.close()

    # TLS

    def _readable_tls(self) -> None:
        """As _readable, with the record layer between."""
        tls = self._tls
        assert tls is not None
        if self._call is None:
            self._idle_event()
            return
        while True:
            now_ns = _now_ns()
            try:
                data, ancillary, _, _ = self._recvmsg(tls.want, ANCILLARY_BYTES)
            except BlockingIOError:
                return
            except OSError as fault:
                self._tls_lost(fault.strerror or "connection lost")
                return
            at_ns, counted = now_ns, 0
            if ancillary:
                seconds, nanoseconds = unpack_timespec(ancillary[0][2])
                at_ns = seconds * 1_000_000_000 + nanoseconds - self._stamps.offset_ns
                self._lag(now_ns - at_ns)
            elif data:
                counted = self._unstamped()
            try:
                plain = tls.receive(data) if data else b""
            except ssl.SSLError as fault:
                self._tls_lost(f"TLS: {fault.reason or fault}")
                return
            self._tls_progress()
            if self._call is None:
                return
            if not data or tls.closed:
                if tls.ready:
                    self._eof(now_ns)
                else:
                    self._tls_lost("closed by the server")
                return
            self._last_ns = now_ns
            self._digest(plain, at_ns)
            if not ancillary:
                self._user_stamps += max(0, len(self._answer.times) - counted)
            if self._call is None or not tls.inside:
                return

    def _digest(self, plain: bytes, at_ns: int) -> None:
        parser, answer = self._parser, self._answer
        pieces = parser.feed(plain) if plain else []
        if not self._begun and parser.status:
            self._begin_answer()
        for piece in pieces:
            answer.feed(piece, at_ns)
        if parser.ended:
            self._ended(at_ns)

    def _tls_progress(self) -> None:
        """Send what the handshake wants sent; ask once it is done."""
        tls = self._tls
        assert tls is not None
        pending = tls.outgoing()
        if pending:
            self._out = memoryview(bytes(self._out) + pending)
            self._transmit()
        if tls.ready and not self._asked and self._call is not None:
            self._ask_after(bytes(self._out))

    def _ask_after(self, unsent: bytes) -> None:
        self._ask()
        if unsent:
            self._out = memoryview(unsent + bytes(self._out))

    def _tls_lost(self, reason: str) -> None:
        if self._tls is not None and not self._tls.ready:
            self.end(Ending.NO_CONNECTION, f"no connection to {self._engine.target.authority}: {reason}")
        else:
            self._lost(reason)
