"""Pace: how far apart the frames of a calm stream come. Pure.

A stream whose frames come far apart may be read a whole frame at once, which spares the second read: two
more can't have come within nearly two of its shortest gaps since the last one's stamp. After that a read is
careful again (framing.py).
"""

from array import array
from operator import sub
from typing import Final

CALM_GAPS: Final = 8  # so many in a row, none under
_CALM_GAP_NS: Final = 4_000_000  # this, make a calm stream
_OF_LATE: Final = 16
_ALIKE: Final = 16
# Whole quarters of a millisecond, about, and a quarter second at most: thousands of streams then share a few
# objects, which stay in the processor's cache
_GRID: Final = 18
_MOST: Final = 1023
_GAPS_NS: Final = tuple(step << _GRID for step in range(_MOST + 1))
_ALONE_NS: Final = tuple(2 * gap_ns - (gap_ns >> 3) for gap_ns in _GAPS_NS)


def shortest_gap_ns(times: "array[int]", fewest: int = CALM_GAPS) -> int:
    """Of the last gaps between chunks (times: ns), rounded down; 0 where they are fewer, or too short to be
    calm.

    Chunks of one stamp tell nothing: they were sent at once, or read too late to be told apart.
    """
    late = times[-_OF_LATE - 1 :]
    if len(late) <= fewest:
        return 0
    shortest_ns = min(filter(None, map(sub, late[1:], late)), default=0)
    return _GAPS_NS[min(shortest_ns >> _GRID, _MOST)] if shortest_ns >= _CALM_GAP_NS else 0


def time_alone_ns(shortest_ns: int) -> int:
    """For how long after a chunk's stamp only one more can be waiting: 15/8 of the shortest gap, as
    shortest_gap_ns gave it.
    """
    return _ALONE_NS[shortest_ns >> _GRID]


class Presumption:
    """What an answer is taken to be like until it has shown its pace: as the last ones, if all were calm.

    shortest_ns: its shortest gap, 0 where nothing is presumed. verdict() tells of one that has shown it.
    """

    __slots__ = ("_alike", "shortest_ns")

    def __init__(self) -> None:
        self.shortest_ns = self._alike = 0

    def verdict(self, shortest_ns: int) -> None:
        """shortest_ns: 0 for one that is not calm."""
        self._alike = self._alike + 1 if shortest_ns else 0
        self.shortest_ns = shortest_ns if self._alike >= _ALIKE else 0
