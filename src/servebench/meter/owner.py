"""Owner: what a connection asks of the loop that owns it. Loops know connections, not the other way round."""

from array import array
from typing import Any, Protocol

from servebench.meter.call import Call, Target, Timeouts
from servebench.meter.deadlines import Wheel
from servebench.meter.exchange import OnDone
from servebench.meter.health import LagHistogram
from servebench.meter.pace import Presumption
from servebench.meter.ready import Ready
from servebench.meter.record import RequestRecord
from servebench.meter.timestamps import StampClock


class Owner(Protocol):
    """The shared state of all connections of one loop, and where they report."""

    target: Target
    timeouts: Timeouts
    t0_ns: int
    secrets: tuple[str, ...]
    hub: Any  # gevent's
    socket_class: Any  # the unpatched one
    addresses: list[tuple[int, Any]]
    good_address: int
    presumed: Presumption
    ready: Ready
    stamps: StampClock
    lag: LagHistogram
    wheel: Wheel[Any]
    horizon_ns: int
    connect_ns: int
    opened: int
    reused: int
    missing_stamps: int
    stale_retries: int
    rate_limits: dict[str, int] | None

    def request_bytes(self, call: Call) -> bytes: ...

    def finished(
        self, connection: Any, record: RequestRecord, chunk_us: "array[int]", on_done: OnDone
    ) -> None: ...

    def forget(self, connection: Any) -> None: ...
