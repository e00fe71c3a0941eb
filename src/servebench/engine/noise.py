"""Random numbers by counter, not by state: the same (seed, counter) gives the same draw in any order.

A step's noise depends on its index alone, so that real and virtual time, or stepping and jumping, agree.
Mixing is splitmix64 (Steele, Lea and Flood 2014).
"""

import math

import numpy as np
from numpy.typing import NDArray

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15
_DRAWN_AT_ONCE = 1024  # a draw of one costs as much as of fifty, and steps come one after the other


def uniform(seed: int, counter: int, stream: int = 0) -> float:
    """A draw in the open interval (0, 1)."""
    z = (seed * 0xD1B54A32D192ED03 + stream * 0x8CB92BA72F3D8DD7 + (counter + 1) * GOLDEN) & MASK
    for _ in range(2):  # twice: seed and counter enter linearly, one round leaves neighbours correlated
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        z ^= z >> 31
    return ((z >> 11) + 0.5) / (1 << 53)


def uniforms(seed: int, start: int, count: int, stream: int) -> NDArray[np.float64]:
    """uniform() of the counters start .. start + count - 1; uint64 arithmetic wraps as the mask does."""
    offset = (seed * 0xD1B54A32D192ED03 + stream * 0x8CB92BA72F3D8DD7 + (start + 1) * GOLDEN) & MASK
    z = np.uint64(offset) + np.arange(count, dtype=np.uint64) * np.uint64(GOLDEN)
    for _ in range(2):
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return ((z >> np.uint64(11)).astype(np.float64) + 0.5) / (1 << 53)


class Lognormal:
    """A factor of mean 1 and the given coefficient of variation, drawn by counter; exactly 1 at cv 0."""

    def __init__(self, cv: float, *, seed: int, stream: int) -> None:
        self._sigma = math.sqrt(math.log1p(cv * cv))
        self._seed, self._stream = seed, stream
        self._block = -1  # the counters drawn are block * _DRAWN_AT_ONCE and those after it
        self._drawn = np.ones(0)
        self._one_by_one: list[float] = []  # the same, without numpy's cost of a single one

    @property
    def lowest(self) -> float:
        """Six standard deviations down: one factor of a thousand million is lower."""
        return math.exp(-6 * self._sigma - 0.5 * self._sigma**2)

    def factor(self, counter: int) -> float:
        if self._sigma == 0.0:
            return 1.0
        block, place = divmod(counter, _DRAWN_AT_ONCE)
        if block != self._block:
            self._draw(block)
        return self._one_by_one[place]

    def factors(self, start: int, count: int) -> NDArray[np.float64]:
        """The factors of the counters start .. start + count - 1: factor() of each. Not to be written to."""
        if self._sigma == 0.0:
            return np.ones(count)
        parts: list[NDArray[np.float64]] = []
        while True:
            block, place = divmod(start, _DRAWN_AT_ONCE)
            if block != self._block:
                self._draw(block)
            part = self._drawn[place : place + count]
            if len(part) == count and not parts:
                return part
            parts.append(part)
            start, count = start + len(part), count - len(part)
            if count == 0:
                return np.concatenate(parts)

    def _draw(self, block: int) -> None:
        sigma, start = self._sigma, block * _DRAWN_AT_ONCE
        z = inverse_normal(uniforms(self._seed, start, _DRAWN_AT_ONCE, self._stream))
        self._block, self._drawn = block, np.exp(sigma * z - 0.5 * sigma * sigma)
        self._one_by_one = self._drawn.tolist()


def inverse_normal(u: NDArray[np.float64]) -> NDArray[np.float64]:
    """The standard normal's quantiles, to 1e-15 or so: Wichura's AS 241 (1988), PPND16. u in (0, 1).

    scipy has it too, but is heavy for a server that needs nothing else of it.
    """
    q = u - 0.5
    r = 0.180625 - q * q
    z = q * np.polyval(_CENTRE[0], r) / np.polyval(_CENTRE[1], r)
    tail = np.abs(q) > 0.425
    if tail.any():
        q_tail = q[tail]
        r = np.sqrt(-np.log(np.where(q_tail < 0, u[tail], 1.0 - u[tail])))
        near = np.polyval(_NEAR[0], r - 1.6) / np.polyval(_NEAR[1], r - 1.6)
        far = np.polyval(_FAR[0], r - 5.0) / np.polyval(_FAR[1], r - 5.0)
        z[tail] = np.copysign(np.where(r <= 5.0, near, far), q_tail)
    return np.asarray(z)


# numerator and denominator, highest power first
_CENTRE = (
    (2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457,
     13731.693765509461125, 1971.5909503065514427, 133.14166789178437745, 3.387132872796366608),
    (5226.495278852854561, 28729.085735721942674, 39307.89580009271061, 21213.794301586595867,
     5394.1960214247511077, 687.1870074920579083, 42.313330701600911252, 1.0),
)  # fmt: skip
_NEAR = (
    (7.7454501427834140764e-4, 0.0227238449892691845833, 0.24178072517745061177, 1.27045825245236838258,
     3.64784832476320460504, 5.7694972214606914055, 4.6303378461565452959, 1.42343711074968357734),
    (1.05075007164441684324e-9, 5.475938084995344946e-4, 0.0151986665636164571966, 0.14810397642748007459,
     0.68976733498510000455, 1.6763848301838038494, 2.05319162663775882187, 1.0),
)  # fmt: skip
_FAR = (
    (2.01033439929228813265e-7, 2.71155556874348757815e-5, 0.0012426609473880784386, 0.026532189526576123093,
     0.29656057182850489123, 1.7848265399172913358, 5.4637849111641143699, 6.6579046435011037772),
    (2.04426310338993978564e-15, 1.4215117583164458887e-7, 1.8463183175100546818e-5,
     7.868691311456132591e-4, 0.0148753612908506148525, 0.13692988092273580531, 0.59983220655588793769, 1.0),
)  # fmt: skip
