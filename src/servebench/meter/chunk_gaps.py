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
    times = np.frombuffer(times_ns, dtype=np.int64)
    gaps_ns = times[1:] - times[:-1]
    if (gaps_ns < 0).any():  # stamps of two clocks (kernel, user) may cross where a kernel stamp was missing
        times = np.maximum.accumulate(times)
        gaps_ns = times[1:] - times[:-1]
    since_us = (times - (sent_ns - 500)) // 1000
    if since_us[0] < 0 or since_us[-1] > _MOST_US:  # a clock that was set is past all bounds
        since_us = since_us.clip(0, _MOST_US)
    steps = since_us.astype(np.int32)
    steps[1:] -= steps[:-1].copy()
    return array("i", steps.tobytes()), len(gaps_ns) - int(np.count_nonzero(gaps_ns))
