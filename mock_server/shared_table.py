"""SharedTable: a few numbers for each of many keys, in memory that forked processes share.

Rows are found by a 64-bit key, by open addressing; where all places of a key are taken its first one is given
to the newcomer, so the table is bounded and forgets. Callers hold `lock` over find-and-change.
"""

import mmap
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from hashlib import blake2b

ROW = 4  # cells of 8 bytes: the key, and three numbers
_PROBES = 16

MakeLock = Callable[[], AbstractContextManager[object]]


def key_of(*parts: bytes) -> int:
    """64 bits, never 0."""
    digest = blake2b(digest_size=8)
    for part in parts:
        digest.update(len(part).to_bytes(4, "big"))
        digest.update(part)
    return int.from_bytes(digest.digest(), "big") or 1


class SharedTable:
    """slots: a power of two. values[row + 1 .. row + 3] are the caller's, 0 in a new row."""

    def __init__(self, slots: int, make_lock: MakeLock = nullcontext) -> None:
        self._memory = mmap.mmap(-1, slots * ROW * 8)
        view = memoryview(self._memory)
        self._keys = view.cast("Q")
        self.values = view.cast("d")
        self._mask = slots - 1
        self.lock = make_lock()

    def find(self, key: int) -> int:
        """Where the key's row starts, made where it isn't there."""
        keys, mask = self._keys, self._mask
        for probe in range(_PROBES):
            row = ((key + probe) & mask) * ROW
            if keys[row] == key:
                return row
            if keys[row] == 0:
                keys[row] = key
                return row
        row = (key & mask) * ROW
        self._memory[row * 8 : (row + ROW) * 8] = bytes(ROW * 8)
        keys[row] = key
        return row

    def clear(self) -> None:
        with self.lock:
            self._memory[:] = bytes(len(self._memory))
