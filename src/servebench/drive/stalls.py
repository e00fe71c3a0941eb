"""Stalls: how long the event loop was kept from running, by a timer that should fire each TICK_S."""

import time

import gevent

TICK_S = 0.02


class Stalls:
    """Lateness of each tick in seconds, until taken: a calm loop is a figure too."""

    def __init__(self) -> None:
        self._late_s: list[float] = []
        self._last_s = time.monotonic()
        self._timer = gevent.get_hub().loop.timer(TICK_S, TICK_S, ref=False)
        self._timer.start(self._tick)

    def _tick(self) -> None:
        now_s = time.monotonic()
        late_s = now_s - self._last_s - TICK_S
        self._last_s = now_s
        self._late_s.append(max(late_s, 0.0))

    def take(self) -> list[float]:
        late_s, self._late_s = self._late_s, []
        return late_s

    def close(self) -> None:
        self._timer.stop()
        self._timer.close()
