"""The steady window, and whether the run was steady in it.

The window is after the warm-up and before the cool-down; a request is in it by its *intended* time. Load goes
on through the cool-down, so that the last requests of the window meet the same server as the first.

MSER-5 (White 1997) says from its own series when a run had settled: of the means of five observations, the
cut d that makes sum_{i>d} (x_i - mean_d)^2 / (n - d)^2 least. A cut past half the run: it was not steady.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MSER_BATCH = 5
MIN_BATCHES = 10  # fewer means of five tell nothing
_LAST_KEPT = 5  # batches: the variance of fewer is chance


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
    """From the end of the warm-up to the start of the cool-down; stopped_s: where arrivals ended early.

    A warm-up that the run did not outlive leaves nothing: the window is empty, and the run can't be valid.
    """
    end_s = duration_s - cooldown_s
    if stopped_s is not None:
        end_s = min(end_s, stopped_s)
    return Window(round(warmup_s * 1e9), max(round(end_s * 1e9), round(warmup_s * 1e9)))


def mser5(values: NDArray[np.float64]) -> int | None:
    """How many of the first values to cut, a multiple of five; None where there are too few."""
    batches = len(values) // MSER_BATCH
    if batches < MIN_BATCHES:
        return None
    means = values[: batches * MSER_BATCH].reshape(batches, MSER_BATCH).mean(axis=1)
    means = means - means.mean()  # the sums of squares below must not drown in the mean
    kept = np.arange(batches, 0, -1, dtype=np.float64)
    total, squares = means[::-1].cumsum()[::-1], (means**2)[::-1].cumsum()[::-1]
    spread = np.maximum(squares - total**2 / kept, 0.0) / kept**2
    return int(np.argmin(spread[: batches - _LAST_KEPT + 1])) * MSER_BATCH


@dataclass(frozen=True, slots=True)
class Steadiness:
    """cut_s: when each series had settled, since T0; None where it is too short to tell. run_s: the arrivals'
    time.
    """

    cut_s: dict[str, float | None]
    run_s: float

    @property
    def largest_s(self) -> float | None:
        return max((cut for cut in self.cut_s.values() if cut is not None), default=None)

    @property
    def steady(self) -> bool | None:
        """None: nobody can tell."""
        largest_s = self.largest_s
        return None if largest_s is None else largest_s <= self.run_s / 2
