"""EngineLoop: sends calls and measures their answers inside the gevent hub. No greenlet per stream.

Each connection is a few callbacks on a plain non-blocking socket (connection.py). The loop owns what they
share: the addresses, the keep-alive pool, the cap on what is in flight, the timer wheel, the kernel-stamp
clock, the counters. This is the only module of the meter that imports gevent; nothing is patched, and a
patched process works as well.
"""

import socket
import sys
import time
from array import array
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import gevent
from gevent.monkey import get_original

from servebench.errors import OperationError, UsageError
from servebench.meter.call import Call, Target, Timeouts
from servebench.meter.connection import Connection
from servebench.meter.deadlines import Wheel
from servebench.meter.ending import Ending
from servebench.meter.exchange import OnDone, not_sent
from servebench.meter.health import Health, LagHistogram
from servebench.meter.pace import Presumption
from servebench.meter.ready import Ready
from servebench.meter.record import Outcome, RequestRecord
from servebench.meter.request_bytes import RequestBytes
from servebench.meter.timestamps import Keeper, StampClock
from servebench.meter.tls import client_context
from servebench.meter.tls_connection import TlsConnection

__all__ = ["Call", "EngineLoop", "Target", "Timeouts"]

_FOLD_S = 0.25


class EngineLoop:
    """submit(call, on_done) from any greenlet of this hub; on_done(record, chunk_us) runs in the hub and must
    not block.

    headers: sent with each request (content-type and two of accept are added where absent); they appear in no
    record, error or repr. t0_ns: the run's start on time.monotonic_ns's clock; a call's intended_ns and a
    record's times count from it. max_in_flight: further calls wait here, still measured from their intended
    time. Resolves the target's name at once, off the hub. Raises OperationError when it can't be resolved,
    UsageError for headers that can't be sent.
    """

    def __init__(
        self,
        target: Target,
        *,
        headers: Mapping[str, str] | None = None,
        timeouts: Timeouts | None = None,
        max_in_flight: int = 100_000,
        t0_ns: int | None = None,
    ) -> None:
        if max_in_flight < 1:
            raise UsageError("max_in_flight must be at least 1")
        self.target = target
        self.timeouts = timeouts or Timeouts()
        self.t0_ns = time.monotonic_ns() if t0_ns is None else t0_ns
        self.max_in_flight = max_in_flight
        requests = RequestBytes(target, headers or {})
        self.request_bytes, self.secrets = requests.of, requests.secrets
        self._tls = client_context(target) if target.tls else None
        self.hub = gevent.get_hub()
        self.ready = Ready(self.hub, max_in_flight)
        self.socket_class: Any = get_original("socket", "socket")
        self.dns_ns = 0  # the look-up itself, once
        self.addresses = self._resolve()
        self.connect_ns = int(1e9 * self.timeouts.connect_s / len(self.addresses))  # for each of them
        self.rate_limits: dict[str, int] | None = None  # as the first answer stated them
        self.good_address = 0
        self._keeper = Keeper(self.socket_class)
        self.stamps = StampClock(kernel=self._keeper.works)
        self.lag = LagHistogram()
        self.presumed = Presumption()
        self._idle: dict[Connection, None] = {}  # the last one in goes first
        self._aside: dict[Connection, None] = {}
        self._busy: set[Connection] = set()
        self._waiting: deque[tuple[Call, OnDone]] = deque()
        self._closed = False
        self.missing_stamps = self.opened = self.reused = self.stale_retries = 0
        self._chunks = self._coalesced = 0
        self.horizon_ns = int(1e9 * min(getattr(self.timeouts, name) for name in self.timeouts.__slots__))
        # each address has its part of the time to connect
        self.horizon_ns = min(self.horizon_ns, self.connect_ns)
        tick_ns = min(max(self.horizon_ns // 20, 5_000_000), 100_000_000)
        self.wheel: Wheel[Connection] = Wheel(tick_ns, time.monotonic_ns())
        self._timers = [
            self._every(tick_ns / 1e9, self._visit),
            self._every(1.0, self.stamps.measure_again),
            self._every(_FOLD_S, self.lag.fold),
        ]

    def __repr__(self) -> str:
        return f"<EngineLoop {self.target.authority} in_flight={self.in_flight} queued={self.queued}>"

    @property
    def in_flight(self) -> int:
        """Requests on a connection; those that wait for the cap are `queued`."""
        return len(self._busy)

    @property
    def queued(self) -> int:
        return len(self._waiting)

    def submit(self, call: Call, on_done: OnDone) -> None:
        """Send now, or as soon as the cap allows. on_done is never called before submit returns."""
        if self._closed:
            self.hub.loop.run_callback(on_done, self._unsent(call), array("i"))
        elif self._waiting or len(self._busy) >= self.max_in_flight:
            self._waiting.append((call, on_done))
        else:
            self._start(call, on_done)

    def set_aside(self) -> None:
        """Keep the idle connections out of the pool, so that further calls open their own."""
        self._aside |= self._idle
        self._idle = {}

    def take_back(self) -> None:
        """Those set aside are in the pool again, but for what the server has closed meanwhile."""
        aside, self._aside = self._aside, {}
        self._idle |= {connection: None for connection in aside if connection.usable}

    def abort_all(self) -> None:
        """End it here: what is in flight is recorded as ABORTED with what has come, what waits as UNSENT."""
        waiting, self._waiting = self._waiting, deque()
        for connection in list(self._busy):
            connection.end(Ending.ABORTED, "the run ended with the request in flight")
        for call, on_done in waiting:
            self._tell(on_done, self._unsent(call), array("i"))

    def close(self) -> None:
        """Abort what is left and free all sockets and timers. The loop takes no more calls: they come back
        UNSENT.
        """
        if self._closed:
            return
        self._closed = True
        self.abort_all()
        self.take_back()
        for connection in list(self._idle):
            connection.close()
        self._idle.clear()
        for timer in self._timers:
            timer.stop()
            timer.close()
        self.ready.close()
        self._keeper.close()

    def health(self) -> Health:
        lag = self.lag
        p50, p99 = lag.quantile_ns(0.5), lag.quantile_ns(0.99)
        return Health(
            kernel_stamps=self.stamps.kernel,
            in_flight=self.in_flight,
            queued=self.queued,
            reads=lag.count + self.missing_stamps,
            missing_stamps=self.missing_stamps,
            chunks=self._chunks,
            coalesced=self._coalesced,
            lag_p50_us=None if p50 is None else p50 / 1e3,
            lag_p99_us=None if p99 is None else p99 / 1e3,
            lag_max_us=None if p50 is None else lag.max_ns / 1e3,
            connections_opened=self.opened,
            connections_reused=self.reused,
            stale_retries=self.stale_retries,
            clock_steps=self.stamps.clock_steps,
            clock_step_us=self.stamps.largest_step_ns / 1e3,
            dns_us=self.dns_ns / 1e3,
            rate_limits=self.rate_limits or {},
        )

    # what connections call

    def finished(
        self, connection: Connection, record: RequestRecord, chunk_us: "array[int]", on_done: OnDone
    ) -> None:
        """A request ended. The connection is already idle or closed."""
        self._busy.discard(connection)
        self._chunks += record.chunks
        self._coalesced += record.coalesced
        if connection.usable and not self._closed:
            self._idle[connection] = None
        else:
            connection.close()
        self._tell(on_done, record, chunk_us)
        while self._waiting and len(self._busy) < self.max_in_flight:
            self._start(*self._waiting.popleft())

    def forget(self, connection: Connection) -> None:
        """An idle connection was closed by the server, or can't be trusted any more."""
        self._idle.pop(connection, None)
        connection.close()

    # its own

    def _start(self, call: Call, on_done: OnDone) -> None:
        connection = self._idle.popitem()[0] if self._idle else self._connect()
        self._busy.add(connection)
        connection.send(call, on_done)

    def _tell(self, on_done: OnDone, record: RequestRecord, chunk_us: "array[int]") -> None:
        try:
            on_done(record, chunk_us)
        except Exception:  # noqa: BLE001 - the caller's fault must not stop a socket's watcher, nor other calls
            self.hub.handle_error(on_done, *sys.exc_info())

    def _connect(self) -> Connection:
        return Connection(self) if self._tls is None else TlsConnection(self, self._tls)

    def _unsent(self, call: Call) -> RequestRecord:
        end_ns = time.monotonic_ns() - self.t0_ns
        return not_sent(call, Outcome.UNSENT, "the run ended before it could be sent", end_ns=end_ns)

    def _every(self, seconds: float, action: Callable[[], None]) -> Any:
        timer = self.hub.loop.timer(seconds, seconds, ref=False)
        timer.start(action)
        return timer

    def _visit(self) -> None:
        now_ns = time.monotonic_ns()
        for connection in self.wheel.due(now_ns):
            connection.visit(now_ns)

    def _resolve(self) -> list[tuple[int, Any]]:
        """(family, address) in the system's order, looked up in a native thread."""
        lookup = get_original("socket", "getaddrinfo")
        host, port = self.target.host, self.target.port
        try:
            found, self.dns_ns = self.hub.threadpool.apply(_timed, (lookup, host, port))
        except (OSError, UnicodeError) as fault:
            reason = getattr(fault, "strerror", None) or "not a host name"
            raise OperationError(f"target {host}: the name can't be resolved ({reason})") from None
        return [(family, address) for family, _, _, _, address in found]


def _timed(lookup: Callable[..., Any], host: str, port: int) -> tuple[Any, int]:
    begun_ns = time.monotonic_ns()
    return lookup(host, port, 0, socket.SOCK_STREAM), time.monotonic_ns() - begun_ns
