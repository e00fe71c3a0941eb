"""Agreeing on T0 over several hosts: each worker's wall clock against the master's, by timed pings.

    offset = t_worker - (t_sent + t_received) / 2, uncertainty = (t_received - t_sent) / 2

from the quickest of several pings (Cristian's algorithm, 1989). Workers on the master's own host share its
clock and are not asked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from servebench.meter.timestamps import measure_offset_ns

PINGS = 9


@dataclass(frozen=True, slots=True)
class Ping:
    """CLOCK_REALTIME ns: sent and received by the master, answered by the worker in between."""

    sent_ns: int
    answered_ns: int
    received_ns: int


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """The worker's clock minus the master's; the truth lies within offset_ns +- uncertainty_ns."""

    offset_ns: int
    uncertainty_ns: int


SAME_CLOCK = ClockOffset(0, 0)


def clock_offset(pings: Sequence[Ping]) -> ClockOffset:
    """From the quickest of at least one ping."""
    best = min(pings, key=lambda ping: ping.received_ns - ping.sent_ns)
    width = best.received_ns - best.sent_ns
    return ClockOffset(best.answered_ns - best.sent_ns - width // 2, (width + 1) // 2)


def host_clock_id() -> str:
    """Equal on processes that share one clock; empty where the platform doesn't say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def monotonic_from_realtime(realtime_ns: int) -> int:
    """The CLOCK_MONOTONIC time of a CLOCK_REALTIME one, as both clocks stand now."""
    return realtime_ns - measure_offset_ns(50)
