"""Load for the selfcheck: callers that keep N streams open, and arrivals paced on a schedule.

Both go the way a run's requests go (Pacer, EngineLoop) in this process's hub; nothing is stood in for.
"""

import resource
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gevent
import numpy as np
from gevent.event import Event

from servebench.drive.garbage import load_spared
from servebench.drive.pacer import Pacer
from servebench.drive.selfcheck_truth import (
    PYTHON_SERVER,
    compare,
    fetch,
    quantiles_us,
    reference_server,
    sent_streams,
)
from servebench.meter.call import Call, Target
from servebench.meter.engine_loop import EngineLoop
from servebench.meter.record import RequestRecord

_LEAD_NS = 300_000_000


def reference_call(call_id: int, *, intended_ns: int, tokens: int, itl_us: int) -> Call:
    """A request that the reference server understands."""
    body = b'{"model":"reference","stream":true,"max_tokens":%d,"itl_us":%d,"user":"%d"}' % (
        tokens, itl_us, call_id,
    )  # fmt: skip
    return Call(call_id, "chat", None, 0, "reference", intended_ns, body)


class Callers:
    """`streams` callers; each asks again as soon as its answer is whole, until stop() or a failure."""

    def __init__(self, loop: EngineLoop, *, tokens: int, itl_us: int) -> None:
        self.loop, self.tokens, self.itl_us = loop, tokens, itl_us
        self.results: list[tuple[RequestRecord, array[int]]] = []
        self.over = Event()
        self.asked = 0
        self._open = 0
        self._stopped = False

    def open(self) -> None:
        """One caller more."""
        self._open += 1
        self._ask()

    def stop(self) -> None:
        """No new request; `over` is set when the last answer is whole."""
        self._stopped = True
        if not self._open:
            self.over.set()

    def _ask(self) -> None:
        call_id, self.asked = self.asked, self.asked + 1
        intended_ns = time.monotonic_ns() - self.loop.t0_ns
        call = reference_call(call_id, intended_ns=intended_ns, tokens=self.tokens, itl_us=self.itl_us)
        self.loop.submit(call, self._answered)

    def _answered(self, record: RequestRecord, chunk_us: "array[int]") -> None:
        self.results.append((record, chunk_us))
        if record.ok and not self._stopped:
            self._ask()
            return
        self._open -= 1
        if self._stopped and not self._open:
            self.over.set()


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What one measurement does: so many streams of so many tokens/s, measured for `seconds` once all run."""

    streams: int
    rate: float
    seconds: float
    tokens: int = 100
    server_cpu: int | None = None
    server: Sequence[str] = PYTHON_SERVER

    @property
    def itl_us(self) -> int:
        """A little short: from one stream's last token to the next one's first, two intervals pass and some
        milliseconds.
        """
        return round(1e6 / self.rate * self.tokens / (self.tokens + 1.5))

    @property
    def ramp_s(self) -> float:
        """The streams begin over the length of an answer, so that they end, and begin again, as evenly."""
        return self.tokens / self.rate


def measure_streams(point: Point) -> dict[str, Any]:
    """One run of one point: a row of `servebench selfcheck --json`, and some more. Takes the time of two
    answers more than the seconds asked.
    """
    with reference_server(point.server_cpu, point.server) as port, load_spared():
        loop = EngineLoop(Target("127.0.0.1", port), max_in_flight=point.streams)
        callers = Callers(loop, tokens=point.tokens, itl_us=point.itl_us)
        before_kb = resident_kb()
        began = time.monotonic()
        for opened in range(1, point.streams + 1):
            callers.open()
            due = began + point.ramp_s * opened / point.streams
            gevent.sleep(max(due - time.monotonic(), 0))
        opened_kb = resident_kb() - before_kb
        from_ns, from_cpu_s, from_wait_s = time.monotonic_ns(), time.process_time(), waited_s()
        gevent.sleep(point.seconds)
        upto_ns, cpu_s = time.monotonic_ns(), time.process_time() - from_cpu_s
        wait_s = waited_s() - from_wait_s
        callers.stop()
        callers.over.wait()
        health = loop.health()
        loop.close()
        sent = sent_streams(fetch(port, "/stamps"))
        sends_ns = fetch(port, "/sends")
    errors = compare(callers.results, sent, loop.t0_ns)
    steady = int(((errors.at_ns >= from_ns) & (errors.at_ns < upto_ns)).sum())
    return errors.row() | {
        "missing_stamps": health.missing_stamps,
        "core_s_per_million_chunks": round(1e6 * cpu_s / max(steady, 1), 2),
        "chunks_per_s": round(steady * 1e9 / (upto_ns - from_ns)),
        "waited_share": round(wait_s * 1e9 / (upto_ns - from_ns), 5),
        "loop_lag_us": {"p50": health.lag_p50_us, "p99": health.lag_p99_us},
        "server_send_us": quantiles_us(sends_ns),
        "kb_per_stream": round(opened_kb / point.streams, 1),
        "requests": len(callers.results),
        "failed": sum(not record.ok for record, _ in callers.results),
    }


def measure_pacing(rate_rps: float, seconds: float, server_cpu: int | None) -> dict[str, Any]:
    """Poisson arrivals through the pacer and the meter: how late each send was, and the rate that came of it.

    late_us: send - intended start. rate_error: achieved over planned rate - 1, over the span of the schedule.
    """
    with reference_server(server_cpu) as port, load_spared():
        gaps_s = np.random.Generator(np.random.Philox(1)).exponential(
            1 / rate_rps, max(round(rate_rps * seconds), 2)
        )
        offsets_ns = np.cumsum(gaps_s * 1e9).astype(np.int64)
        loop = EngineLoop(Target("127.0.0.1", port))
        late_ns: list[int] = []
        sent_ns: list[int] = []
        sent, over = Event(), Event()
        calls: dict[int, Call] = {}
        left = len(offsets_ns)

        def prepare(position: int) -> None:
            if position in calls:
                return
            intended_ns = start_ns + int(offsets_ns[position]) - loop.t0_ns
            calls[position] = reference_call(position, intended_ns=intended_ns, tokens=2, itl_us=10_000)

        def answered(record: RequestRecord, _: "array[int]") -> None:
            nonlocal left
            if record.sent_ns is not None:
                late_ns.append(record.sent_ns - record.intended_ns)
                sent_ns.append(record.sent_ns)
            left -= 1
            if not left:
                over.set()

        start_ns = time.monotonic_ns() + _LEAD_NS
        due = (offsets_ns + start_ns).tolist()
        pacer = Pacer(
            due,
            fire=lambda position, _: loop.submit(calls.pop(position), answered),
            prepare=prepare,
            finished=sent.set,
        )
        pacer.start()
        from_ns, from_wait_s = time.monotonic_ns(), waited_s()
        sent.wait()
        wait_s, took_s = waited_s() - from_wait_s, (time.monotonic_ns() - from_ns) / 1e9
        over.wait()
        loop.close()
    row = pacing_row(due, sorted(sent_ns), np.array(late_ns))
    return row | {"waited_share": round(wait_s / took_s, 5)}


def pacing_row(
    due_ns: Sequence[int], sent_ns: Sequence[int], late_ns: "np.ndarray[Any, np.dtype[np.int64]]"
) -> dict[str, Any]:
    """What a pacer did of a schedule: both sorted, ns."""
    if len(sent_ns) < 2:
        return {"late_us": {"p50": None, "p99": None}, "rate_error": None, "n": len(sent_ns)}
    planned_ns, took_ns = due_ns[-1] - due_ns[0], sent_ns[-1] - sent_ns[0]
    rate_error = (len(sent_ns) - 1) / (len(due_ns) - 1) * planned_ns / took_ns - 1
    return {"late_us": quantiles_us(late_ns), "rate_error": round(rate_error, 7), "n": len(sent_ns)}


def waited_s() -> float:
    """How long this process has been ready and had no core, since its start; 0 where /proc does not tell."""
    try:
        return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


def resident_kb() -> int:
    """Memory of this process, KB; 0 where /proc does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * resource.getpagesize() // 1024
