"""Speculative decoding: how many tokens a step yields.

m drafts, each accepted with probability p while all before it were: a = (1 - p^(m + 1))/(1 - p), the bonus
token included (Leviathan et al., 2023). Their cost, m + 1 queries a sequence, is in the step-time model.

What a step yields is drawn by counter from (seed, sequence, the sequence's own step), so that a stream's
chunks are the same at any load, in real and in virtual time.
"""

from collections.abc import Iterator

import numpy as np

from servebench.engine.noise import GOLDEN, MASK, uniform, uniforms

TOOLS = "tools"  # the workload of requests that carry tools
_STREAM = 3  # of the counter-based generator; the steps' noise has 1 and 2
_DRAWN_AT_ONCE = 64  # steps; a draw of one costs as much as of thirty


def accepted_tokens(drafts: int, probability: float) -> float:
    """a of m drafts. Raises ValueError outside 0 <= p <= 1, m >= 0."""
    if drafts < 0 or not 0 <= probability <= 1:
        raise ValueError(f"drafts must be >= 0 and the probability 0 to 1, not {drafts} and {probability:g}")
    return float(sum(probability**i for i in range(drafts + 1)))


def acceptance_probability(drafts: int, accepted: float) -> float:
    """The p that gives a accepted tokens, by bisection. Raises ValueError outside 1 <= a <= m + 1."""
    if drafts < 1 or not 1 <= accepted <= drafts + 1:
        raise ValueError(f"with {drafts} drafts a step yields 1 to {drafts + 1} tokens, not {accepted:g}")
    low, high = 0.0, 1.0
    for _ in range(60):
        p = (low + high) / 2
        if accepted_tokens(drafts, p) < accepted:
            low = p
        else:
            high = p
    return high


class Acceptance:
    """Tokens a sequence gains in a step with m drafts: 1 + a run of accepted ones, of mean a."""

    def __init__(self, *, drafts: int, mean: float, seed: int) -> None:
        p = acceptance_probability(drafts, mean)
        self._seed = seed
        self._reach = [p**i for i in range(1, drafts + 1)]  # P(at least i drafts accepted)

    def tokens(self, sequence_id: int, step: int) -> int:
        """Of the sequence's own step, counted from 0."""
        u = uniform(self._key(sequence_id), step, _STREAM)
        return 1 + sum(u < reach for reach in self._reach)

    def draws(self, sequence_id: int) -> Iterator[int]:
        """tokens() of the steps 0, 1, 2, ... of a sequence, without end."""
        key, start, reach = self._key(sequence_id), 0, np.array(self._reach)[:, None]
        while True:
            u = uniforms(key, start, _DRAWN_AT_ONCE, _STREAM)
            yield from (1 + (u < reach).sum(axis=0)).tolist()
            start += _DRAWN_AT_ONCE

    def _key(self, sequence_id: int) -> int:
        return self._seed ^ (sequence_id * GOLDEN & MASK)
