"""LogHistogram: a mergeable histogram whose buckets are read off the bits of a float.

The exponent and the first 7 mantissa bits of an IEEE double number its bucket, so a bucket is at most
2^-7 of its value wide and its middle is at most 0.39 % (2^-8) off. Counts are integers: merging is exact, in
any order.
For live views and long soaks; a finished run reads its percentiles from the records.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MANTISSA_BITS = 7
MAX_RELATIVE_ERROR = 2.0 ** -(MANTISSA_BITS + 1)

_SHIFT = 52 - MANTISSA_BITS
_LOWEST_EXPONENT, _HIGHEST_EXPONENT = -20, 20  # 0.95 us to 12 days, in seconds
_BASE = (1023 + _LOWEST_EXPONENT) << MANTISSA_BITS
_SIZE = (_HIGHEST_EXPONENT - _LOWEST_EXPONENT) << MANTISSA_BITS


class LogHistogram:
    """Counts of values in seconds; +inf is counted apart. Values below the range go to its ends."""

    __slots__ = ("counts", "infinite")

    def __init__(self) -> None:
        self.counts: NDArray[np.int64] = np.zeros(_SIZE, dtype=np.int64)
        self.infinite = 0

    def add(self, values: NDArray[np.float64]) -> None:
        """values: seconds, any shape, no NaN; +inf allowed."""
        values = np.ravel(values)
        finite = values[np.isfinite(values)]
        self.infinite += len(values) - len(finite)
        if len(finite):
            bits = np.maximum(finite, 0.0).view(np.int64)
            index = np.clip((bits >> _SHIFT) - _BASE, 0, _SIZE - 1)
            self.counts += np.bincount(index, minlength=_SIZE)

    @property
    def n(self) -> int:
        return int(self.counts.sum()) + self.infinite

    def quantile(self, p: float) -> float | None:
        """The middle of the bucket with the value of nearest rank (+inf included); None when empty."""
        n = self.n
        if n == 0:
            return None
        rank = min(max(math.ceil(p * n - 1e-9), 1), n)
        running = np.cumsum(self.counts)
        if rank > running[-1]:
            return math.inf
        index = int(np.searchsorted(running, rank))
        edges = (np.array([index, index + 1], dtype=np.int64) + _BASE) << _SHIFT
        return float(edges.view(np.float64).mean())

    def merge(self, other: "LogHistogram") -> None:
        self.counts += other.counts
        self.infinite += other.infinite

    def to_lists(self) -> tuple[list[int], list[int], int]:
        """(bucket numbers, their counts, count of +inf): only the buckets in use, as JSON takes them."""
        used = np.flatnonzero(self.counts)
        return used.tolist(), self.counts[used].tolist(), self.infinite

    def merge_lists(self, buckets: Sequence[int], counts: Sequence[int], infinite: int) -> None:
        """The inverse of to_lists, added to what is here."""
        if len(buckets):
            np.add.at(self.counts, np.asarray(buckets, dtype=np.int64), np.asarray(counts, dtype=np.int64))
        self.infinite += infinite
