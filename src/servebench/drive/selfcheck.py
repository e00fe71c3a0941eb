"""The selfcheck: how exact the instrument is on this machine, and how much the machine lets it carry.

The meter runs on one core against a server of its own on another, which stamps each chunk right before it
sends it. An error = the meter's time - that stamp, so it includes the server's send, which is reported apart.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from statistics import median
from typing import TYPE_CHECKING, Any

from servebench import __version__
from servebench.drive.selfcheck_store import this_machine
from servebench.errors import OperationError

if TYPE_CHECKING:
    from collections.abc import Iterator

STREAMS = (100, 500, 1000, 2000)
PACING_RPS = (100.0, 500.0)
RATE = 50.0  # tokens/s a stream,
MAX_CHUNKS_PER_S = 80_000.0  # and no more than this in all
MAX_CHUNK_ERROR_P99_US = 50.0
MAX_COALESCED_SHARE = 0.01
MAX_LATE_P99_US = 10_000.0  # the client lag that makes a run INVALID

Progress = Callable[[str], None]


def selfcheck(
    *,
    streams: Sequence[int] = STREAMS,
    seconds: float = 4.0,
    runs: int = 1,
    pacing_rps: Sequence[float] = PACING_RPS,
    progress: Progress = lambda _: None,
) -> dict[str, Any]:
    """Measure, and judge. Medians over the runs; about 3 s more than `seconds` for each of them.

    Returns the JSON of `servebench selfcheck --json`: streams, pacing, capacity_streams, reasons (why the
    instrument is not good enough here; empty when it is), limits, machine and date.
    Raises OperationError where there is nothing to measure with.
    """
    if not sys.platform.startswith("linux"):
        raise OperationError("selfcheck needs Linux: its reference server waits with epoll")
    from servebench.drive.selfcheck_load import Point, measure_pacing, measure_streams

    with client_core() as server_cpu:
        stream_rows, pacing_rows = {}, {}
        for count in streams:
            rows = []
            for turn in range(runs):
                progress(f"{count} streams, run {turn + 1} of {runs}")
                rate = min(RATE, MAX_CHUNKS_PER_S / count)
                point = Point(streams=count, rate=rate, seconds=seconds, server_cpu=server_cpu)
                rows.append(measure_streams(point))
            stream_rows[str(count)] = middle(rows)
        for rate_rps in pacing_rps:
            rows = []
            for turn in range(runs):
                progress(f"pacing at {rate_rps:g} requests/s, run {turn + 1} of {runs}")
                rows.append(measure_pacing(rate_rps, seconds, server_cpu))
            pacing_rows[f"{rate_rps:g}"] = middle(rows)
    return {
        "streams": stream_rows,
        "pacing": pacing_rows,
        "capacity_streams": capacity(stream_rows),
        "reasons": shortfalls(stream_rows, pacing_rows),
        "limits": {
            "chunk_error_p99_us": MAX_CHUNK_ERROR_P99_US,
            "coalesced_share": MAX_COALESCED_SHARE,
            "late_p99_us": MAX_LATE_P99_US,
        },
        "runs": runs,
        "seconds": seconds,
        "cores_apart": server_cpu is not None,
        "machine": this_machine(),
        "version": __version__,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def capacity(rows: Mapping[str, Mapping[str, Any]]) -> int | None:
    """The largest tried number of streams that was measured within the limits; None = none of them."""
    carried = [int(count) for count, row in rows.items() if not _faults(row)]
    return max(carried, default=None)


def shortfalls(
    streams: Mapping[str, Mapping[str, Any]], pacing: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Why the instrument is not good enough on this machine, a sentence each; empty = it is."""
    reasons = []
    if streams and capacity(streams) is None:
        worst = "; ".join(f"{count} streams: {', '.join(_faults(row))}" for count, row in streams.items())
        reasons.append(f"no tried number of streams was measured within the limits ({worst})")
    missing = sum(row["missing_stamps"] for row in streams.values())
    if missing:
        reasons.append(f"{missing:g} chunks came without the kernel's stamp")
    late = {rate: row["late_us"]["p99"] for rate, row in pacing.items()}
    slow = [f"{late[rate]:.0f} us at {rate}/s" for rate in late if (late[rate] or 0.0) > MAX_LATE_P99_US]
    if slow and len(slow) == len(late):
        reasons.append(
            f"requests are sent too late at every tried rate (p99 {', '.join(slow)}; "
            f"limit {MAX_LATE_P99_US:.0f} us)"
        )
    return reasons


def _faults(row: Mapping[str, Any]) -> list[str]:
    """What of a row is beyond the limits."""
    faults = []
    error = row["chunk_error_us"]["p99"]
    if error > MAX_CHUNK_ERROR_P99_US:
        faults.append(f"chunk error p99 {error:.1f} us > {MAX_CHUNK_ERROR_P99_US:g}")
    if row["coalesced_share"] >= MAX_COALESCED_SHARE:
        faults.append(f"{row['coalesced_share']:.1%} of chunks coalesced")
    if row["failed"]:
        faults.append(f"{row['failed']:g} streams failed")
    return faults


def middle(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The median of each number over the rows; null where any row has none."""
    return {
        key: {inner: _median([row[key][inner] for row in rows]) for inner in value}
        if isinstance(value, Mapping)
        else _median([row[key] for row in rows])
        for key, value in rows[0].items()
    }


def _median(values: list[Any]) -> Any:
    return None if any(value is None for value in values) else median(values)


@contextmanager
def client_core() -> "Iterator[int | None]":
    """This process on one core; yields another for the server, or None where there is only one."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        yield None
        return
    os.sched_setaffinity(0, {cores[1]})
    try:
        yield cores[0]
    finally:
        os.sched_setaffinity(0, cores)
