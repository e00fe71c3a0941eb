"""Stalls: how long the event loop was kept from running, by a timer that should fire each TICK_S."""

import time
from collections.abc import Callable

import gevent

from servebench.meter.health import LagHistogram

TICK_S = 0.02


class Stalls:
    """Lateness of each tick in seconds, until taken: a calm loop is a figure too. worst(): over the run.

    on_tick: called at each.
    """

    def __init__(self, on_tick: Callable[[], None] = lambda: None) -> None:
        self._late_s: list[float] = []
        self._all = LagHistogram()
        self._on_tick = on_tick
        self._last_s = time.monotonic()
        self._timer = gevent.get_hub().loop.timer(TICK_S, TICK_S, ref=False)
        self._timer.start(self._tick)

    def _tick(self) -> None:
        now_s = time.monotonic()
        late_s = now_s - self._last_s - TICK_S
        self._last_s = now_s
        self._late_s.append(max(late_s, 0.0))
        self._all.push(round(max(late_s, 0.0) * 1e9))
        self._on_tick()

    def take(self) -> list[float]:
        late_s, self._late_s = self._late_s, []
        return late_s

    def worst(self) -> dict[str, float | None]:
        """p99 and the largest, s; p99 None before the first tick."""
        p99_ns = self._all.quantile_ns(0.99)
        return {"p99_s": None if p99_ns is None else p99_ns / 1e9, "max_s": self._all.max_ns / 1e9}

    def forget(self) -> None:
        """What was before the run is not the run's."""
        self._late_s, self._all, self._last_s = [], LagHistogram(), time.monotonic()

    def close(self) -> None:
        self._timer.stop()
        self._timer.close()
