"""The highest rate that passes: doubling until it fails, then bisection of the logarithm.

The answer is the last rate that passed, a lower bound, never the midpoint. Every probe should use the same
seeds (common random numbers), so that pass or fail is nearly monotone in the rate.
"""

from collections.abc import Callable
from dataclasses import dataclass

TOLERANCE = 1.04
MAX_PROBES = 10
_HALVINGS = 30  # 10^9 below the first guess is nothing


@dataclass(frozen=True, slots=True)
class Found:
    """passing_rps: the highest that passed (None: nothing did); failing_rps: the lowest that failed above it
    (None: the probes ran out while doubling)."""

    passing_rps: float | None
    failing_rps: float | None
    probes: int


def highest_passing(
    passes: Callable[[float], bool],
    *,
    start_rps: float,
    lowest_rps: float,
    tolerance: float = TOLERANCE,
    max_probes: int = MAX_PROBES,
) -> Found:
    """Searches from start_rps, up or down; never below lowest_rps, where a failure means that nothing
    passes."""
    passing: float | None = None
    failing: float | None = None
    rate_rps, probes = max(start_rps, lowest_rps), 0
    while probes < max_probes + _HALVINGS * (passing is None):
        probes += 1
        if passes(rate_rps):
            passing = rate_rps
        else:
            failing = rate_rps
            if rate_rps <= lowest_rps:
                break
        if failing is None:
            rate_rps *= 2
        elif passing is None:
            rate_rps = max(rate_rps / 2, lowest_rps)
        elif failing / passing <= tolerance:
            break
        else:
            rate_rps = (passing * failing) ** 0.5
    return Found(passing, failing, probes)
