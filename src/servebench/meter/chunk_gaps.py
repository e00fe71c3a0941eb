"""The times of an answer's chunks as they are kept: the first since the send, then the gaps. Pure."""

from array import array
from typing import Final

import numpy as np

_MOST_US: Final = 2**31 - 1


def chunk_gaps(times_ns: "array[int]", sent_ns: int) -> "tuple[array[int], int]":
    """(first chunk - send, then the gaps, in us as int32; chunks that carry the stamp of the one before).

    Gaps are differences of rounded times, so that rounding never accumulates.
    """
    if not times_ns:
        return array("i"), 0
    # stamps of two clocks (kernel, user) may cross by microseconds where a kernel stamp was missing
    times = np.maximum.accumulate(np.frombuffer(times_ns, dtype=np.int64))
    since_ns = np.maximum(times - sent_ns, 0)
    since_us = np.minimum((since_ns + 500) // 1000, _MOST_US)  # a clock that was set is past all bounds
    steps = np.diff(since_us, prepend=0)
    return array("i", steps.astype(np.int32).tobytes()), int(np.count_nonzero(np.diff(times) == 0))
