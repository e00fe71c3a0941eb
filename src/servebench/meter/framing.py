"""How much may be read at once so as not to go past the current frame. Pure.

A frame's size stands in its first bytes, which are not here yet: so a read takes no more than the smallest
frame of late. A larger frame then costs a second read, never the stamp of the segment behind it.
"""

from typing import Final

PATIENCE: Final = 64
_NONE: Final = 1 << 62


class FrameFloor:
    """want: the size of the smallest frame of late, 0 before the first.

    It falls at once, and rises to the smallest of PATIENCE frames that were all above it, so that one
    keep-alive comment does not double the reads for ever.
    """

    __slots__ = ("_above", "_lowest", "want")

    def __init__(self) -> None:
        self.want = 0
        self._above = 0
        self._lowest = _NONE

    def learn(self, size: int) -> int:
        """A frame of this size has come; returns want."""
        if size <= self.want or not self.want:
            self.want, self._above, self._lowest = size, 0, _NONE
            return size
        self._above += 1
        if size < self._lowest:
            self._lowest = size
        if self._above == PATIENCE:
            self.want, self._above, self._lowest = self._lowest, 0, _NONE
        return self.want
