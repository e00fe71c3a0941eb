"""Throughput with its interval, by batch means: what came out of the window, cut in equal batches.

    mean +- t(k - 1) s / sqrt(k),   k = 30, 25, 24 or 20: the most whose lag-1 correlation is under 0.1

Neighbouring batches that still go together would make the interval too narrow: then there is none, and the
run is too short for one.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BATCHES = (30, 25, 24, 20)
MAX_LAG1 = 0.1
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Throughput:
    """low, high: the 95 % interval; None where the batches are not independent enough. batches: how many."""

    mean: float
    low: float | None
    high: float | None
    batches: int
    lag1: float


def batch_means(per_step: NDArray[np.float64]) -> Throughput:
    """per_step: rates over equal steps, whose number each of BATCHES divides."""
    mean = float(per_step.mean())
    found: tuple[int, float, NDArray[np.float64]] | None = None
    for batches in BATCHES:
        means = per_step.reshape(batches, -1).mean(axis=1)
        found = (batches, lag1_correlation(means), means)
        if found[1] < MAX_LAG1:
            break
    assert found is not None
    batches, lag1, means = found
    if lag1 >= MAX_LAG1:
        return Throughput(mean, None, None, batches, lag1)
    half = t_quantile((1 + CONFIDENCE) / 2, batches - 1) * float(means.std(ddof=1)) / batches**0.5
    return Throughput(mean, mean - half, mean + half, batches, lag1)


def lag1_correlation(values: NDArray[np.float64]) -> float:
    """Of each value with the next; 0 of constant ones."""
    apart = values - values.mean()
    total = float((apart**2).sum())
    return float((apart[1:] * apart[:-1]).sum()) / total if total > 0 else 0.0


def t_quantile(q: float, freedom: float) -> float:
    from scipy.special import stdtrit  # scipy.stats has it too, and takes a second to import

    return float(stdtrit(freedom, q))
