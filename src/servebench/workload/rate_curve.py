"""RateCurve: a rate that changes in time, as straight pieces; and arrivals moved onto it.

Arrivals of a stationary process are moved from operational time u, in which the rate is constant, to the
time t at which the curve's area reaches u (Cinlar, Introduction to Stochastic Processes, 1975, section 4.7):

    A(t) = integral of factor over [0, t],   t = A^-1(u)

Of a Poisson process this makes the inhomogeneous Poisson process, the same law that thinning makes (Lewis
and Shedler 1979), with nothing thrown away; of other processes it keeps their CV and correlation, which
thinning would wash out, and of constant gaps it makes an exact ramp.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_JUMP_S = 1e-9  # a change within a nanosecond is a jump: arrivals are whole nanoseconds


@dataclass(frozen=True, slots=True)
class RateCurve:
    """factor[k] >= 0 at time_s[k], straight between; a time given twice is a jump; the last factor holds on.

    time_s is sorted and begins at 0.
    """

    time_s: Floats
    factor: Floats

    @classmethod
    def through(cls, points: Sequence[tuple[float, float]]) -> "RateCurve":
        times, factors = np.array(points, dtype=np.float64).T
        return cls(times, factors)

    def at(self, time_s: Floats) -> Floats:
        """The factor at each time; at a jump the new one."""
        time_s = np.asarray(time_s, dtype=np.float64)
        right = np.searchsorted(self.time_s, time_s, side="right")
        left, right = np.maximum(right - 1, 0), np.minimum(right, len(self.time_s) - 1)
        width = self.time_s[right] - self.time_s[left]
        share = np.divide(time_s - self.time_s[left], width, out=np.zeros_like(time_s), where=width > 0)
        return self.factor[left] + share * (self.factor[right] - self.factor[left])

    def _areas(self) -> Floats:
        """A at each point."""
        pieces = np.diff(self.time_s) * (self.factor[1:] + self.factor[:-1]) / 2
        return np.concatenate(([0.0], np.cumsum(pieces)))

    def area_s(self, end_s: float) -> float:
        """A(end_s): seconds of operational time up to end_s."""
        k = int(np.searchsorted(self.time_s, end_s, side="right")) - 1
        piece = (end_s - self.time_s[k]) * (self.factor[k] + self.at(np.array([end_s]))[0]) / 2
        return float(self._areas()[k] + piece)

    def times_s(self, area_s: Floats) -> Floats:
        """A^-1 of sorted operational times: +inf beyond the curve's whole area."""
        areas = self._areas()
        k = np.searchsorted(areas, area_s, side="right") - 1
        last = len(areas) - 1
        width = np.append(np.diff(self.time_s), 0.0)[k]
        rise = np.append(np.diff(self.factor), 0.0)[k]
        slope = np.divide(rise, width, out=np.zeros_like(width), where=(k < last) & (width > _JUMP_S))
        start, rest = self.factor[k], area_s - areas[k]
        # the root of start * x + slope / 2 * x^2 = rest, in the form that keeps its digits at small slopes
        root = np.sqrt(np.maximum(start * start + 2 * slope * rest, 0.0))
        x = np.divide(2 * rest, start + root, out=np.full_like(rest, np.inf), where=start + root > 0)
        x[rest == 0] = 0.0
        times: Floats = self.time_s[k] + np.where(k < last, np.minimum(x, width), x)
        return times
