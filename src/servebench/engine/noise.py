"""Random numbers by counter, not by state: the same (seed, counter) gives the same draw in any order.

A step's noise depends on its index alone, so that real and virtual time, or stepping and jumping, agree.
Mixing is splitmix64 (Steele, Lea and Flood 2014).
"""

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_inverse_normal = NormalDist().inv_cdf


def uniform(seed: int, counter: int, stream: int = 0) -> float:
    """A draw in the open interval (0, 1)."""
    z = (seed * 0xD1B54A32D192ED03 + stream * 0x8CB92BA72F3D8DD7 + (counter + 1) * _GOLDEN) & _MASK
    for _ in range(2):  # twice: seed and counter enter linearly, one round leaves neighbours correlated
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        z ^= z >> 31
    return ((z >> 11) + 0.5) / (1 << 53)


def _uniforms(seed: int, start: int, count: int, stream: int) -> NDArray[np.float64]:
    """uniform() of a range of counters; uint64 arithmetic wraps as the mask does."""
    offset = (seed * 0xD1B54A32D192ED03 + stream * 0x8CB92BA72F3D8DD7 + (start + 1) * _GOLDEN) & _MASK
    z = np.uint64(offset) + np.arange(count, dtype=np.uint64) * np.uint64(_GOLDEN)
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
        z = ndtri(_uniforms(self._seed, start, count, self._stream))
        return np.asarray(np.exp(sigma * z - 0.5 * sigma * sigma))


class Acceptance:
    """Tokens a sequence gains in a step with m drafts: 1 + a truncated geometric run, of mean a.

    Each draft is accepted with the same probability p as long as all before it were, so the mean is
    1 + p + ... + p^m; p is solved from a.
    """

    def __init__(self, *, drafts: int, mean: float, seed: int) -> None:
        if not 1.0 <= mean <= drafts + 1:
            raise ValueError(f"accepted tokens must be between 1 and {drafts + 1}, not {mean}")
        self._seed = seed
        low, high = 0.0, 1.0
        for _ in range(60):
            p = (low + high) / 2
            if sum(p**i for i in range(drafts + 1)) < mean:
                low = p
            else:
                high = p
        self._reach = [high**i for i in range(1, drafts + 1)]  # P(at least i drafts accepted)

    def tokens(self, step_index: int, sequence_id: int) -> int:
        u = uniform(self._seed ^ (sequence_id * _GOLDEN & _MASK), step_index, 3)
        return 1 + sum(u < reach for reach in self._reach)
