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
        """All gaps between chunks (first chunks and lost ones left out), and each one's record position."""
        keep = np.ones(len(self.values), dtype=bool)
        counts = np.diff(self.offsets)
        keep[self.offsets[:-1][counts > 0]] = False
        keep &= self.values != LOST
        owner = np.repeat(np.arange(len(self), dtype=np.int64), counts)
        return self.values[keep], owner[keep]

    def since_send_us(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Each chunk's time since its send, and its record's position; a record with losses is left out."""
        counts = np.diff(self.offsets)
        owner = np.repeat(np.arange(len(self), dtype=np.int64), counts)
        running = np.concatenate(([0], np.cumsum(self.values, dtype=np.int64)))
        since = running[1:] - np.repeat(running[self.offsets[:-1]], counts)
        lost = self.values == LOST
        if not lost.any():
            return since, owner
        damaged = np.zeros(len(self), dtype=bool)
        damaged[owner[lost]] = True
        whole = ~damaged[owner]
        return since[whole], owner[whole]

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
