"""Loads: how busy each replica is, in memory that the workers of one mock share.

Its owner writes, after each step and each arrival; routers of all workers read. A reading may be a step old.
"""

import mmap

_CELLS = 3  # waiting, running, time.monotonic() from which on it is up


class Loads:
    """count: replicas of all models, in one row."""

    def __init__(self, count: int) -> None:
        self._cells = memoryview(mmap.mmap(-1, max(1, count) * _CELLS * 8)).cast("d")

    def put(self, slot: int, *, waiting: int, running: int, up_at_s: float) -> None:
        at = slot * _CELLS
        cells = self._cells
        cells[at], cells[at + 1], cells[at + 2] = waiting, running, up_at_s

    def expect(self, slot: int) -> None:
        """One more is on its way to it; its owner's next word puts this right."""
        self._cells[slot * _CELLS] += 1

    def waiting(self, slot: int) -> int:
        return int(self._cells[slot * _CELLS])

    def running(self, slot: int) -> int:
        return int(self._cells[slot * _CELLS + 1])

    def up_at_s(self, slot: int) -> float:
        return self._cells[slot * _CELLS + 2]
