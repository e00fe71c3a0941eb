"""Turns: the calls of a session that follow one another.

Sessions start open loop. A later call is due some wait after the end of the one before it, and that is its
intended start; none starts after the run's arrivals have ended and the grace that sessions are given.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gevent

from servebench.meter import RequestRecord, SessionState
from servebench.workload.plan import Workload
from servebench.workload.sessions import TurnOutcome, split_id


@dataclass(frozen=True, slots=True)
class Following:
    """Request id, due at intended_ns since T0."""

    id: int
    intended_ns: int


class Turns:
    """start(id, intended_ns): called in the hub when a turn is due. waiting: turns to come."""

    def __init__(self, workload: Workload, start: Callable[[int, int], None]) -> None:
        self._workload = workload
        self._start = start
        self._last_ns = round((workload.duration_s + workload.task_grace_s) * 1e9)
        self._timers: set[Any] = set()
        self._stopped = False

    @property
    def waiting(self) -> int:
        return len(self._timers)

    def after(self, record: RequestRecord) -> tuple[SessionState | None, Following | None]:
        """What an ended call leaves its session in, and what follows. None, None: it has no session."""
        if record.session is None:
            return None, None
        outcome = TurnOutcome(ok=record.ok, tool_calls=record.tool_calls - record.broken_tool_calls)
        next_turn = self._workload.next_turn(record.id, outcome)
        if next_turn is None:
            last = split_id(record.id)[1] + 1 == self._workload.session_turns(record.id)
            return (SessionState.DONE if last and record.ok else SessionState.FAILED), None
        intended_ns = record.end_ns + round(next_turn.wait_s * 1e9)
        if intended_ns >= self._last_ns or self._stopped:
            return SessionState.CUT, None
        return SessionState.GOES_ON, Following(next_turn.id, intended_ns)

    def follow(self, following: Following, *, t0_ns: int) -> None:
        """Have the session's next call start in time."""
        delay_s = max((t0_ns + following.intended_ns - time.monotonic_ns()) / 1e9, 0.0)
        timer = gevent.get_hub().loop.timer(delay_s)
        self._timers.add(timer)
        timer.start(self._due, timer, following.id, following.intended_ns)

    def stop(self) -> None:
        self._stopped = True
        for timer in self._timers:
            timer.stop()
            timer.close()
        self._timers.clear()

    def _due(self, timer: Any, request_id: int, intended_ns: int) -> None:
        self._timers.discard(timer)
        timer.close()
        self._start(request_id, intended_ns)
