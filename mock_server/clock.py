"""EngineClock: engine seconds against the wall's, `scale` of them in one real second.

A server that can't keep up slips: the clock loses what the steps are behind, so that arrivals and steps go on
agreeing, and says how much it lost. It never goes back.
"""

import time


class EngineClock:
    """Runs from now on, and agrees with time.monotonic() at this moment; with scale 1 it stays so."""

    __slots__ = ("_latest_s", "_origin_s", "scale", "slipped_s")

    def __init__(self, scale: float = 1.0) -> None:
        if not scale > 0:
            raise ValueError(f"time scale: {scale} is not above 0")
        self.scale = scale
        self._origin_s = self._latest_s = time.monotonic()
        self.slipped_s = 0.0  # real seconds lost so far

    def now_s(self) -> float:
        """Engine seconds."""
        origin_s = self._origin_s
        now_s = origin_s + (time.monotonic() - origin_s - self.slipped_s) * self.scale
        if now_s < self._latest_s:  # it has slipped: it stands until it is past that again
            return self._latest_s
        self._latest_s = now_s
        return now_s

    def slip(self, lag_s: float) -> None:
        """lag_s: real seconds."""
        self.slipped_s += lag_s

    def wall_s(self, engine_s: float) -> float:
        """The time.monotonic() at which the engine's clock shows engine_s."""
        return self._origin_s + self.slipped_s + (engine_s - self._origin_s) / self.scale
