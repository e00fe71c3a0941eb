"""Percentiles of records: nearest rank, so a value that some request really had, with failures at +inf.

Each comes with the distribution-free interval [x_(l), x_(u)], l = BinomInv(a/2; n, p) and
u = BinomInv(1 - a/2; n, p) + 1: the true quantile lies between them with 95 % confidence whatever the
distribution. Where the interval needs a rank past the sample (n < 6 for p50, 36 for p90, 72 for p95, 368 for
p99, 3,688 for p99.9) n is too small, and there is no percentile.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
_COUNTED_US = 1 << 18  # shorter gaps than this are counted, where there are as many: fewer sort as fast


@dataclass(frozen=True, slots=True)
class Percentile:
    """value, and the interval it lies in with 95 % confidence; +inf where failures reach that far."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Distribution:
    """One metric of a class. n: sample size, failures included. mean: of the finite values.

    A percentile is None where n is too small for it; mean is None where no value is finite.
    """

    n: int
    mean: float | None
    p50: Percentile | None
    p95: Percentile | None
    p99: Percentile | None


def nearest_rank(ascending: NDArray[np.float64], p: float) -> float:
    """The smallest value with at least a share p of the sample at or below it; not for an empty sample."""
    # the 1e-9 undoes 0.07 * 100 = 7.000000000000001
    rank = math.ceil(p * len(ascending) - 1e-9)
    return float(ascending[min(max(rank, 1), len(ascending)) - 1])


@lru_cache(maxsize=4096)
def interval_ranks(n: int, p: float, confidence: float = CONFIDENCE) -> tuple[int, int] | None:
    """(l, u), counted from 1, of the two-sided order-statistic interval; None where n is too small for it."""
    tail = (1 - confidence) / 2
    low, high = _binomial_quantile(tail, n, p), _binomial_quantile(1 - tail, n, p) + 1
    return (low, high) if low >= 1 and high <= n else None


@lru_cache(maxsize=64)
def minimum_n(p: float, confidence: float = CONFIDENCE) -> int:
    """The smallest sample that has a percentile p."""
    n = 1
    while interval_ranks(n, p, confidence) is None:
        n += 1
    return n


def percentile(ascending: NDArray[np.float64], p: float) -> Percentile | None:
    """None where the sample is too small."""
    ranks = interval_ranks(len(ascending), p) if len(ascending) else None
    if ranks is None:
        return None
    low, high = ranks
    return Percentile(nearest_rank(ascending, p), float(ascending[low - 1]), float(ascending[high - 1]))


def distribution(values: NDArray[np.float64]) -> Distribution:
    """values: any order; NaN (undefined) is left out, +inf (failed) counts."""
    ascending = np.sort(values[~np.isnan(values)])
    return of_sorted(ascending)


def of_sorted(ascending: NDArray[np.float64]) -> Distribution:
    """The same of an ascending array without NaN."""
    finite = ascending[: np.searchsorted(ascending, np.inf)]
    return Distribution(
        n=len(ascending),
        mean=float(finite.mean()) if len(finite) else None,
        p50=percentile(ascending, 0.5),
        p95=percentile(ascending, 0.95),
        p99=percentile(ascending, 0.99),
    )


def ascending_s(values_us: NDArray[np.int32]) -> NDArray[np.float64]:
    """Microseconds in any order as ascending seconds.

    The gaps of a long run are millions of small integers: to count each is ten times as fast as to sort them.
    """
    if len(values_us) < _COUNTED_US:
        return np.sort(values_us) / 1e6
    counts = np.zeros(_COUNTED_US, dtype=np.int64)
    rest = []
    for start in range(0, len(values_us), _COUNTED_US):  # in pieces, as bincount makes int64 of all it gets
        piece = values_us[start : start + _COUNTED_US]
        small = piece.view(np.uint32) < _COUNTED_US  # which no negative one is
        counts += np.bincount(piece[small], minlength=_COUNTED_US)
        rest.append(piece[~small])
    others = np.sort(np.concatenate(rest))
    negative, ones = int(np.searchsorted(others, 0)), np.ones(len(others), dtype=np.int64)
    each_s = np.concatenate((others[:negative] / 1e6, np.arange(_COUNTED_US) / 1e6, others[negative:] / 1e6))
    return np.repeat(each_s, np.concatenate((ones[:negative], counts, ones[negative:])))


def _binomial_quantile(q: float, n: int, p: float) -> int:
    """The smallest k with P(X <= k) >= q."""
    from scipy.special import bdtr, bdtrik  # scipy.stats has it too, and takes a second to import

    k = max(math.ceil(bdtrik(q, n, p)), 0)
    return k - 1 if k > 0 and bdtr(k - 1, n, p) >= q else k
