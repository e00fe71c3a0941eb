"""Arrivals against their theory: statistics whose mean is exactly 0 where the theory holds, at any length.

Of a stationary process the sum of f(gap) over the gaps that begin in (0, T) has the mean rate * T * E f
(Campbell's formula), so that none of the four needs a correction for the run's length, as a ratio would:

    rate         N(T) / T - rate
    cv           mean of (g / m - 1)^2, over CV^2, - 1    m = 1 / rate
    lag1         mean of (g / m - 1) (g' / m - 1), over CV^2, - lag1
    dispersion   mean of (N(w) - rate w)^2 / (rate w) over the windows, over I(w), - 1

Runs of many seeds give their standard error, and Student's t the chance of so large a mean. Over the theory,
so that of a mixture, whose clients each seed draws anew, the burstiest seed is not all that is seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from arrival_theory import Theory
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

STATISTICS = ("rate", "cv", "lag1", "dispersion")
MIN_CHANCE = 6e-5  # four standard errors of a normal
MAX_DISTANCE = 0.02  # of gaps that are not independent, for which Kolmogorov's test does not hold
_REST = 100  # mean gaps at the end in which none may begin: its end might not be seen
_POINTS = 1000  # at which pooled gaps are compared: the distance is right to one in as many


def residuals(starts_ns: Ints, theory: Theory, *, seconds: float, window_s: float) -> dict[str, float]:
    """The four statistics of one run of so many seconds; 0 in the mean."""
    rate, moments = theory.rate_rps, theory.moments
    starts_s = starts_ns / 1e9
    until_s = seconds - _REST / rate
    gaps = np.diff(starts_s) * rate - 1
    begun = int(np.searchsorted(starts_s[:-2], until_s))
    counts, _ = np.histogram(starts_s, np.arange(0, seconds + window_s / 2, window_s))
    seen, per_window = rate * until_s * moments.cv**2, rate * window_s
    squares = float((gaps[:begun] ** 2 - moments.cv**2).sum())
    products = float((gaps[:begun] * gaps[1 : begun + 1] - moments.lag1 * moments.cv**2).sum())
    variance = float(((counts - per_window) ** 2).mean())
    return {
        "rate": len(starts_ns) / seconds - rate,
        "cv": squares / seen,
        "lag1": products / seen,
        "dispersion": variance / (per_window * theory.dispersion(window_s)) - 1,
    }


@dataclass(frozen=True, slots=True)
class Judgement:
    """mean: of a residual over the runs; z: over its standard error; chance: of one as large by luck."""

    mean: float
    z: float
    chance: float

    @property
    def passes(self) -> bool:
        return self.chance >= MIN_CHANCE


def judge(values: Sequence[float]) -> Judgement:
    """Of one residual, a value a run."""
    mean, error = float(np.mean(values)), float(np.std(values, ddof=1)) / len(values) ** 0.5
    z = mean / error
    return Judgement(mean, z, float(2 * stats.t.sf(abs(z), len(values) - 1)))


def pooled_distance(runs: Sequence[Ints], theories: Sequence[Theory]) -> float:
    """Largest distance of the distribution of all runs' gaps from their theories', weighed by their gaps."""
    gaps = [np.sort(np.diff(starts_ns)) for starts_ns in runs]
    points_ns = np.unique(np.quantile(np.concatenate(gaps), np.linspace(0, 1, _POINTS), method="lower"))
    total, count = np.zeros(len(points_ns)), 0
    for gaps_ns, theory in zip(gaps, theories, strict=True):
        seen = np.searchsorted(gaps_ns, points_ns, side="right")
        total += seen - len(gaps_ns) * theory.gap_cdf(_s(points_ns + 0.5))
        count += len(gaps_ns)
    return float(np.abs(total).max()) / count


def gap_distance(starts_ns: Ints, theory: Theory) -> tuple[float, float]:
    """Of independent gaps of one run: Kolmogorov's distance and the chance of so large a one."""
    values_ns, counts = np.unique(np.diff(starts_ns), return_counts=True)
    steps = np.concatenate(([0], np.cumsum(counts))) / counts.sum()
    above = steps[1:] - theory.gap_cdf(_s(values_ns + 0.5))
    below = theory.gap_cdf(_s(values_ns - 0.5)) - steps[:-1]
    distance = float(max(np.abs(above).max(), np.abs(below).max()))
    return distance, float(stats.kstwo.sf(distance, counts.sum()))


def even_chance(chances: Sequence[float]) -> float:
    """Chances of what is true are even between 0 and 1: the chance of these."""
    return float(stats.kstest(chances, "uniform").pvalue)


def _s(times_ns: Floats) -> Floats:
    """Gaps are whole ns: 0 stands for all below half a ns, as most of a bursty client's are."""
    return times_ns.clip(0) / 1e9
