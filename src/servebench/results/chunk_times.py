"""ChunkTimes: the per-chunk times of a whole run, one int32 array in the order of the records.

A record's slice holds its first chunk's time since the send, then the gaps between chunks, in microseconds.
LOST stands for a time that did not reach the disk.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LOST = -(2**31)


@dataclass(frozen=True, slots=True)
class ChunkTimes:
    """values: int32 us, all records end to end; offsets: int64, one more than there are records."""

    values: NDArray[np.int32]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, position: int) -> NDArray[np.int32]:
        """A view of the times of the record at this position (not: with this id)."""
        if not 0 <= position < len(self):
            raise IndexError(position)
        return self.values[self.offsets[position] : self.offsets[position + 1]]

    @property
    def lost(self) -> int:
        return int(np.count_nonzero(self.values == LOST))

    def gaps(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """All gaps between chunks (first chunks and lost ones left out), and how many each record has."""
        counts = np.diff(self.offsets)
        firsts = self.offsets[:-1][counts > 0]
        gap = self.values != LOST
        gap[firsts] = True
        owner = np.searchsorted(self.offsets, np.flatnonzero(~gap), side="right") - 1
        lost = np.bincount(owner, minlength=len(self))
        gap[firsts] = False
        return self.values[gap], counts - (counts > 0) - lost

    def between(self, start: int, stop: int) -> "ChunkTimes":
        """Of the records from start up to stop, as a view."""
        offsets = self.offsets[start : stop + 1]
        return ChunkTimes(self.values[offsets[0] : offsets[-1]], offsets - offsets[0])

    def at_us(self, sent_ns: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """When each chunk came, on the clock of sent_ns (of each record; NaN = 0), in us; and how many each
        record has of them. A record with losses has none.
        """
        counts = np.diff(self.offsets)
        lost = self.values == LOST
        if lost.any():
            whole = np.bincount(np.repeat(np.arange(len(self)), counts)[lost], minlength=len(self)) == 0
            values, counts = self.values[np.repeat(whole, counts)], np.where(whole, counts, 0)
        else:
            values = self.values
        sums = np.zeros(len(values) + 1, dtype=np.int64)
        at_us = np.cumsum(values, dtype=np.int64, out=sums[1:])
        before = sums[np.cumsum(counts) - counts]  # a copy: the sums change in place
        at_us += np.repeat(np.rint(np.nan_to_num(sent_ns) / 1e3).astype(np.int64) - before, counts)
        return at_us, counts

    def since_send_us(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Each chunk's time since its send, and its record's position; a record with losses is left out."""
        since, counts = self.at_us(np.zeros(len(self)))
        return since, np.repeat(np.arange(len(self), dtype=np.int64), counts)

    @classmethod
    def of(cls, per_record: "Sequence[array[int] | Sequence[int] | NDArray[np.int32]]") -> "ChunkTimes":
        """From one sequence of microseconds per record."""
        offsets = np.zeros(len(per_record) + 1, dtype=np.int64)
        np.cumsum([len(times) for times in per_record], out=offsets[1:])
        values = np.empty(int(offsets[-1]), dtype=np.int32)
        for position, times in enumerate(per_record):
            if len(times):
                values[offsets[position] : offsets[position + 1]] = times
        return cls(values, offsets)
