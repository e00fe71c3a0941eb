"""Pace: until when a connection that is read surely holds one frame, never two. Pure.

A stream whose frames come far apart may be read a whole frame at once, which spares the second read. Two
can't have come within one and a half of the shortest gap of late; after that a read is careful again
(framing.py).
"""

from typing import Final

_CALM_GAP_NS: Final = 4_000_000  # frames that come no faster than this,
_CALM: Final = 8  # so many times in a row, make a calm stream
_NEVER: Final = 1 << 62


class Pace:
    """learn(at_ns) when a frame has come, restart() when another answer begins.

    until_ns: a read before it, by a loop that is in time, meets one frame at most; 0 while nothing is known.
    """

    __slots__ = ("_alone_ns", "_at_ns", "_calm", "until_ns")

    def __init__(self) -> None:
        self._at_ns = 0
        self.restart()

    def restart(self) -> None:
        self._calm = self.until_ns = 0
        self._alone_ns = _NEVER

    def learn(self, at_ns: int) -> None:
        """at_ns: when the frame came, by its stamp."""
        gap_ns = at_ns - self._at_ns
        self._at_ns = at_ns
        if gap_ns < _CALM_GAP_NS:
            if self._calm:
                self.restart()
            return
        alone_ns = gap_ns + (gap_ns >> 1)
        shortest_ns = self._alone_ns
        if alone_ns > shortest_ns:  # one short gap is forgotten in some dozen frames
            alone_ns = shortest_ns + ((alone_ns - shortest_ns) >> 4)
        self._alone_ns = alone_ns
        self._calm = calm = self._calm + 1
        if calm >= _CALM:
            self.until_ns = at_ns + alone_ns
