"""Utilisation: the share of the last seconds in which a replica's steps ran, on the engine's clock."""

from collections import deque

WINDOW_S = 10.0
_GRAIN_S = 0.25  # samples are no closer than that


class Utilisation:
    """Fed with steps in order; as many samples are kept as the window has grains."""

    def __init__(self) -> None:
        self._busy_s = 0.0
        self._end_s: float | None = None
        self._samples: deque[tuple[float, float]] = deque()  # (end, busy until then)

    def step(self, start_s: float, end_s: float) -> None:
        """A step has ended."""
        if self._end_s is None:
            self._samples.append((start_s, 0.0))
        self._end_s = end_s
        self._busy_s += end_s - start_s
        if end_s - self._samples[-1][0] >= _GRAIN_S:
            self._samples.append((end_s, self._busy_s))
            self._forget(end_s)

    def share(self, now_s: float, in_flight_since_s: float | None = None) -> float:
        """Of the window before now_s, or of the time since the first step where that is shorter."""
        start_s, busy_s = now_s - WINDOW_S, 0.0
        if self._end_s is None:
            start_s = now_s if in_flight_since_s is None else in_flight_since_s
        elif self._end_s > start_s:
            self._forget(now_s)
            first_s, before_s = self._samples[0]
            start_s, busy_s = max(start_s, first_s), self._busy_s - before_s
        if in_flight_since_s is not None:
            busy_s += now_s - max(in_flight_since_s, start_s)
        return min(1.0, max(0.0, busy_s) / max(now_s - start_s, 1e-9))

    def _forget(self, now_s: float) -> None:
        """All samples but the last one that is older than the window."""
        samples = self._samples
        while len(samples) > 1 and samples[1][0] <= now_s - WINDOW_S:
            samples.popleft()
