"""Random numbers by counter, not by state: the same (seed, counter) gives the same draw in any order.

A step's noise depends on its index alone, so that real and virtual time, or stepping and jumping, agree.
Mixing is splitmix64 (Steele, Lea and Flood 2014).
"""

import math

import numpy as np
from numpy.typing import NDArray

from servebench.normal import inverse_normal

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
