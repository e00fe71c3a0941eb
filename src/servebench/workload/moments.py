"""Moments of arrivals, by which a schedule or a trace is told from a Poisson process of its rate.

    gap CV               standard deviation / mean of the gaps; 1 for Poisson
    index of dispersion  variance / mean of the counts in windows of one length; 1 for Poisson at any length

A renewal process has its CV and no more; where bursts last, the dispersion grows with the window (Cox and
Lewis, The Statistical Analysis of Series of Events, 1966, chapter 4).
"""

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

LEAST_WINDOWS = 10  # of fewer the variance says nothing


def gap_cv(arrival_ns: Ints) -> float | None:
    """Of sorted starts; None for fewer than two gaps, or none longer than 0."""
    gaps = np.diff(arrival_ns)
    if len(gaps) < 2 or not gaps.any():
        return None
    return float(gaps.std() / gaps.mean())


def index_of_dispersion(arrival_ns: Ints, *, window_s: float, duration_s: float) -> float | None:
    """Over the whole windows of [0, duration_s); None where they are fewer than ten, or empty."""
    windows = int(duration_s / window_s)
    if windows < LEAST_WINDOWS:
        return None
    window = arrival_ns // round(window_s * 1e9)
    counts = np.bincount(window[window < windows], minlength=windows)
    return float(counts.var() / counts.mean()) if counts.any() else None
