"""The highest rate that passes: doubling until it fails (or ever larger steps down until one passes), then
bisection of the logarithm; and the smallest fleet.

The answers are the last that passed, never a midpoint. Every probe should use the same seeds (common random
numbers), so that pass or fail is nearly monotone.
"""

from collections.abc import Callable
from dataclasses import dataclass

TOLERANCE = 1.04
MAX_PROBES = 10


@dataclass(frozen=True, slots=True)
class Found:
    """passing_rps: the highest that passed; failing_rps: the lowest that failed above it (None: the probes
    ran out while doubling)."""

    passing_rps: float
    failing_rps: float | None
    probes: int


def highest_passing(
    passes: Callable[[float], bool],
    *,
    start_rps: float,
    known_rps: float,
    tolerance: float = TOLERANCE,
    max_probes: int = MAX_PROBES,
) -> Found:
    """Searches up from start_rps, or between known_rps, which is known to pass, and what failed."""
    passing, failing = known_rps, None
    rate_rps, probes, seen, down = max(start_rps, known_rps), 0, False, 2.0
    while probes < max_probes and (failing is None or failing / passing > tolerance):
        probes += 1
        if passes(rate_rps):
            passing, seen = rate_rps, True
        else:
            failing = rate_rps
        if failing is None:
            rate_rps *= 2
        elif seen:
            rate_rps = (passing * failing) ** 0.5
        else:  # only known_rps is known to pass, which may be far below
            rate_rps = max(failing / down, (passing * failing) ** 0.5)
            down *= down
    return Found(passing, failing, probes)


def fewest_passing(passes: Callable[[int], bool], *, least: int, most: int) -> int:
    """The smallest count in least..most that passes, by bisection; `most` where nothing below it does. `most`
    itself is not tried."""
    low, high = least, most
    while low < high:
        middle = (low + high) // 2
        if passes(middle):
            high = middle
        else:
            low = middle + 1
    return high
