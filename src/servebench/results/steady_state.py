"""The steady window: after the warm-up, until arrivals end. A request is in it by its *intended* time.

Load goes on through the cool-down, so that the last requests of the window meet the same server as the first.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Window:
    """[start_ns, end_ns) since T0."""

    start_ns: int
    end_ns: int

    @property
    def duration_s(self) -> float:
        return max(self.end_ns - self.start_ns, 0) / 1e9

    def contains(self, times_ns: NDArray[np.float64]) -> NDArray[np.bool_]:
        """NaN (it never happened) is outside."""
        result: NDArray[np.bool_] = (times_ns >= self.start_ns) & (times_ns < self.end_ns)
        return result

    def overlap_s(self, starts_ns: NDArray[np.float64], ends_ns: NDArray[np.float64]) -> NDArray[np.float64]:
        """How long each span [start, end] lies inside; 0 for NaN."""
        inside = np.minimum(ends_ns, self.end_ns) - np.maximum(starts_ns, self.start_ns)
        return np.asarray(np.nan_to_num(np.maximum(inside, 0)) / 1e9, dtype=np.float64)


def steady_window(
    *, warmup_s: float, duration_s: float, cooldown_s: float = 0.0, stopped_s: float | None = None
) -> Window:
    """From the end of the warm-up to the end of the arrivals; stopped_s: where arrivals ended early.

    A warm-up that the run did not outlive leaves nothing: the window is empty, and the run can't be valid.
    """
    end_s = duration_s - cooldown_s
    if stopped_s is not None:
        end_s = min(end_s, stopped_s)
    return Window(round(warmup_s * 1e9), max(round(end_s * 1e9), round(warmup_s * 1e9)))
