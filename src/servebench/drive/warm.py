"""Connections opened before the load starts, so that no measured request pays for DNS, TCP and TLS.

Each carries one GET /v1/models, which costs no tokens anywhere: what answers it, if only with an error, has a
connection that stays. They go out a few at a time, as the target may count them against its rate limit.
"""

import time
from array import array
from dataclasses import dataclass

from gevent.event import Event

from servebench.meter import RequestRecord
from servebench.meter.call import MODELS_PATH, Call
from servebench.meter.engine_loop import EngineLoop

_TIMEOUT_S = 20.0  # beyond the time that the pace takes
_A_SECOND = 20  # over all workers: under the lowest limit that xAI publishes for grok-4.3


@dataclass(frozen=True, slots=True)
class Warmed:
    """opened of asked connections; the times of those that opened, in seconds."""

    asked: int
    opened: int
    connect_s: tuple[float, ...]
    tls_s: tuple[float, ...]


def warm_connections(loop: EngineLoop, count: int, *, workers: int) -> Warmed:
    """Open `count` connections and leave them to the loop's pool. Waits, not for ever."""
    records: list[RequestRecord] = []
    at_once = max(_A_SECOND // workers, 1)
    until_s = time.monotonic() + _TIMEOUT_S + count / at_once
    while len(records) < count and time.monotonic() < until_s:
        begun_s = time.monotonic()
        records += _ask(loop, min(at_once, count - len(records)), until_s)
        loop.set_aside()
        if len(records) < count:
            Event().wait(max(begun_s + 1.0 - time.monotonic(), 0))
    loop.take_back()
    opened = [record for record in records if record.connect_ns is not None]
    return Warmed(
        asked=count,
        opened=len(opened),
        connect_s=tuple((record.connect_ns or 0) / 1e9 for record in opened),
        tls_s=tuple(record.tls_ns / 1e9 for record in opened if record.tls_ns is not None),
    )


def _ask(loop: EngineLoop, count: int, until_s: float) -> list[RequestRecord]:
    records: list[RequestRecord] = []
    all_in = Event()

    def done(record: RequestRecord, chunk_us: "array[int]") -> None:
        records.append(record)
        if len(records) == count:
            all_in.set()

    for number in range(count):
        call = Call(
            id=-1 - number, class_name="warm-up", session=None, turn=0, model="", intended_ns=0, body=b"",
            path=MODELS_PATH, method="GET",
        )  # fmt: skip
        loop.submit(call, done)
    all_in.wait(max(until_s - time.monotonic(), 0))
    return list(records)
