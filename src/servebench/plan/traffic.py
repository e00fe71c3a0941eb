"""Traffic: what a fleet will be asked: vectors of arrivals and lengths, and of sessions the calls that
follow.

Row k is one arrival: a request, or the first call of a session. A session's later calls arrive a wait after
the end of the call before, so they have no time of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Keys = tuple[int, ...]

_SESSION_KEYS = 1 << 32  # each session's own blocks are numbered apart: more than any prompt has


@dataclass(frozen=True, slots=True)
class FollowUp:
    """A later call of a session: it arrives wait_s after the end of the call before it."""

    wait_s: float
    prompt_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Traffic:
    """Row k is one arrival, in order of time. output_tokens counts all generated, reasoning included.

    block_keys: per row the keys of the prompt's shared beginning, of a session of its whole blocks; None
    where nothing is shared. follow_ups: per row the later calls; None where nothing has any. A session's
    prompt grows at its end only: each call begins with the blocks of the one before. workloads: per row what
    it is for, by which accepted drafts may differ; None where all are alike.
    """

    arrival_s: Floats
    prompt_tokens: Ints
    output_tokens: Ints
    block_keys: tuple[Keys, ...] | None = None
    follow_ups: tuple[tuple[FollowUp, ...], ...] | None = None
    block_tokens: int = 64
    workloads: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.arrival_s)

    def later(self, row: int) -> tuple[FollowUp, ...]:
        return () if self.follow_ups is None else self.follow_ups[row]

    @property
    def session_calls(self) -> Ints | None:
        """Per row the calls of its session; None where there are no sessions."""
        if self.follow_ups is None:
            return None
        return np.array([1 + len(later) for later in self.follow_ups], dtype=np.int64)

    def workload_of(self, row: int) -> str:
        return "" if self.workloads is None else self.workloads[row]

    def keys_of(self, row: int, prompt_tokens: int) -> Keys:
        """The keys of a later call's prompt: those of the first call, and the session's own after them."""
        begun = self.block_keys[row] if self.block_keys is not None else ()
        return begun + session_keys(row, len(begun), prompt_tokens // self.block_tokens)


def session_keys(row: int, start: int, stop: int) -> Keys:
    """Keys of the blocks start .. stop - 1 that only this session has; negative, apart from shared ones."""
    base = -(row + 1) * _SESSION_KEYS
    return tuple(range(base + start, base + stop))


def calls_in(follow_ups: Sequence[tuple[FollowUp, ...]] | None, count: int) -> int:
    """All calls of the first `count` arrivals."""
    return count if follow_ups is None else count + sum(len(later) for later in follow_ups[:count])
