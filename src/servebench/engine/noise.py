"""Random numbers by counter, not by state: the same (seed, counter) gives the same draw in any order.

A step's noise depends on its index alone, so that real and virtual time, or stepping and jumping, agree.
Mixing is splitmix64 (Steele, Lea and Flood 2014).
"""

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15
_inverse_normal = NormalDist().inv_cdf


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

    def factor(self, counter: int) -> float:
        sigma = self._sigma
        if sigma == 0.0:
            return 1.0
        z = _inverse_normal(uniform(self._seed, counter, self._stream))
        return math.exp(sigma * z - 0.5 * sigma * sigma)

    def factors(self, start: int, count: int) -> NDArray[np.float64]:
        """The factors of the counters start .. start + count - 1: factor() of each, to the last bits."""
        from scipy.special import ndtri  # heavy, and not wanted by a server, which takes one step at a time

        sigma = self._sigma
        if sigma == 0.0:
            return np.ones(count)
        z = ndtri(uniforms(self._seed, start, count, self._stream))
        return np.asarray(np.exp(sigma * z - 0.5 * sigma * sigma))
