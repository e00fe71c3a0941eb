"""The instrument's own health: how late the loop reads, what it missed, what it opened. Numbers only.

Lag = time of the read - kernel stamp. Values are collected raw and folded into logarithmic bins (8 to an
octave, so a quantile is at most 9 % too high) a few times a second, which costs about 10 ns each.
"""

from array import array
from dataclasses import dataclass, field
from typing import Final

import numpy as np

_BINS: Final = 64 * 8
_BITS: Final = 52 - 3  # of a float64, sign, exponent and three mantissa bits remain
_BASE: Final = 1023 << 3


class LagHistogram:
    """push(ns) often, fold() a few times a second; quantile and max over all that was folded."""

    __slots__ = ("_counts", "_values", "max_ns", "push")

    def __init__(self) -> None:
        self._values = array("q")
        self._counts = np.zeros(_BINS, dtype=np.int64)
        self.max_ns = 0
        self.push = self._values.append

    @property
    def count(self) -> int:
        return int(self._counts.sum()) + len(self._values)

    def fold(self) -> None:
        if not self._values:
            return
        values = np.maximum(np.array(self._values, dtype=np.float64), 1.0)
        del self._values[:]
        bins = (values.view(np.int64) >> _BITS) - _BASE
        self._counts += np.bincount(bins, minlength=_BINS)
        self.max_ns = max(self.max_ns, int(values.max()))

    def quantile_ns(self, share: float) -> int | None:
        """The upper edge of the bin that holds the quantile; None without values."""
        self.fold()
        total = int(self._counts.sum())
        if not total:
            return None
        place = int(np.searchsorted(np.cumsum(self._counts), np.ceil(share * total)))
        edge = np.array([(place + 1 + _BASE) << _BITS], dtype=np.int64).view(np.float64)
        return min(int(edge[0]), self.max_ns)


@dataclass(frozen=True, slots=True)
class Health:
    """A snapshot. reads: reads that brought bytes; missing_stamps: those without the kernel's stamp; chunks
    and coalesced (chunks with the stamp of the one before): over finished requests; lag: read - kernel
    stamp. clock_steps: how often the wall clock was set, by clock_step_us at the most. dns_us: what looking
    up the target's name took, once; rate_limits: as the target stated them.
    """

    kernel_stamps: bool
    in_flight: int
    queued: int
    reads: int
    missing_stamps: int
    chunks: int
    coalesced: int
    lag_p50_us: float | None
    lag_p99_us: float | None
    lag_max_us: float | None
    connections_opened: int
    connections_reused: int
    stale_retries: int
    clock_steps: int
    clock_step_us: float = 0.0
    dns_us: float = 0.0
    rate_limits: dict[str, int] = field(default_factory=dict)
