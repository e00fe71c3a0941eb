"""Turns: the calls of a session that follow one another.

Sessions start open loop. A later call is due some wait after the end of the one before it, and that is its
intended start; none starts after the run's arrivals have ended.
"""

import time
from collections.abc import Callable
from typing import Any

import gevent

from servebench.meter import RequestRecord
from servebench.workload.plan import Workload
from servebench.workload.sessions import TurnOutcome


class Turns:
    """start(id, intended_ns): called in the hub when a turn is due. waiting: turns to come."""

    def __init__(self, workload: Workload, start: Callable[[int, int], None]) -> None:
        self._workload = workload
        self._start = start
        self._last_ns = round(workload.duration_s * 1e9)
        self._timers: set[Any] = set()

    @property
    def waiting(self) -> int:
        return len(self._timers)

    def follow(self, record: RequestRecord, *, t0_ns: int) -> None:
        """A call has ended: have the session's next one start in time."""
        outcome = TurnOutcome(ok=record.ok, tool_calls=record.tool_calls)
        following = self._workload.next_turn(record.id, outcome)
        if following is None:
            return
        intended_ns = record.end_ns + round(following.wait_s * 1e9)
        if intended_ns >= self._last_ns:
            return
        delay_s = max((t0_ns + intended_ns - time.monotonic_ns()) / 1e9, 0.0)
        timer = gevent.get_hub().loop.timer(delay_s)
        self._timers.add(timer)
        timer.start(self._due, timer, following.id, intended_ns)

    def stop(self) -> None:
        for timer in self._timers:
            timer.stop()
            timer.close()
        self._timers.clear()

    def _due(self, timer: Any, request_id: int, intended_ns: int) -> None:
        self._timers.discard(timer)
        timer.close()
        self._start(request_id, intended_ns)
