"""Tasks: what an agent's session came to as a whole, out of the records of its calls.

A task begins at the intended start of its first call and is finished when its last call has ended well:

    time = e(last) - s(first)                 tools and thinking included
    model time = sum over calls of e - s      what was waited for the model
    dollars per finished task = dollars of all tasks / finished tasks, those of failed and cut ones included

A task that failed has its time at +inf, as a failed request has. One that the run's end cut short is counted
and has no time: the long ones are cut first, so that times of a run with many cut are too short.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any

import numpy as np

from servebench.meter.record import RequestRecord, SessionState
from servebench.results.class_summary import distribution_json
from servebench.results.money import plain
from servebench.results.percentiles import Distribution, distribution
from servebench.results.steady_state import Window

ALL = "all"
_USD_STEP = Decimal("1e-10")  # a tick


@dataclass(frozen=True, slots=True)
class Task:
    """One session. end_ns: of its last call's last token. cost_usd None: of some call not known."""

    class_name: str
    session: int
    intended_ns: int
    end_ns: int
    model_s: float
    calls: int
    tokens: int
    state: SessionState
    cost_usd: Decimal | None

    @property
    def time_s(self) -> float:
        """+inf for a failed task, NaN for one cut short."""
        if self.state is SessionState.DONE:
            return (self.end_ns - self.intended_ns) / 1e9
        return math.inf if self.state is SessionState.FAILED else math.nan


@dataclass(frozen=True, slots=True)
class TaskSummary:
    """begun = finished + failed + cut, of the tasks that began in the window. calls and dollars by finished
    task; usd_per_finished_task None: nothing finished, or a cost is not known.
    """

    begun: int
    finished: int
    failed: int
    cut: int
    time_s: Distribution
    model_time_s: Distribution
    calls_mean: float | None
    calls_max: int
    tokens_mean: float | None
    cost_usd: Decimal | None
    usd_per_finished_task: Decimal | None

    @property
    def finished_share(self) -> float | None:
        """Of the tasks that came to an end; those cut short have not."""
        ended = self.finished + self.failed
        return self.finished / ended if ended else None

    def to_json(self) -> dict[str, Any]:
        """One value of "tasks" in summary.json."""
        return {
            "begun": self.begun,
            "finished": self.finished,
            "failed": self.failed,
            "cut": self.cut,
            "finished_share": self.finished_share,
            "time_s": distribution_json(self.time_s),
            "model_time_s": distribution_json(self.model_time_s),
            "calls_mean": self.calls_mean,
            "calls_max": self.calls_max,
            "tokens_mean": self.tokens_mean,
            "cost_usd": None if self.cost_usd is None else plain(self.cost_usd),
            "usd_per_finished_task": (
                None if self.usd_per_finished_task is None else plain(self.usd_per_finished_task)
            ),
        }


def tasks_of(records: Sequence[RequestRecord]) -> list[Task]:
    """In the order of their starts. A session whose next call never came is cut short."""
    sessions: dict[tuple[str, int], list[RequestRecord]] = {}
    for record in records:
        if record.session is not None:
            sessions.setdefault((record.class_name, record.session), []).append(record)
    tasks = [_task(sorted(calls, key=lambda call: call.turn)) for calls in sessions.values()]
    return sorted(tasks, key=lambda task: (task.intended_ns, task.session))


def _task(calls: list[RequestRecord]) -> Task:
    first, last = calls[0], calls[-1]
    state = SessionState(last.session_state) if last.session_state else SessionState.CUT
    if not last.ok:
        state = SessionState.FAILED
    costs = [
        None if call.cost_usd is None else Decimal(call.cost_usd) + Decimal(call.retry_cost_usd or 0)
        for call in calls
    ]
    return Task(
        class_name=first.class_name,
        session=first.session or 0,
        intended_ns=first.intended_ns,
        end_ns=last.end_ns if last.last_token_ns is None else last.last_token_ns,
        model_s=sum(call.e2e_s or 0.0 for call in calls),
        calls=len(calls),
        tokens=sum(
            (call.prompt_tokens or 0) + (call.completion_tokens or 0) + (call.reasoning_tokens or 0)
            for call in calls
        ),
        state=SessionState.CUT if state is SessionState.GOES_ON else state,
        cost_usd=None if None in costs else sum(filter(None, costs), Decimal(0)),
    )


def summarise_tasks(records: Sequence[RequestRecord], window: Window) -> dict[str, TaskSummary]:
    """By class, and of all where there are several classes with sessions; {} without sessions."""
    inside = [task for task in tasks_of(records) if window.start_ns <= task.intended_ns < window.end_ns]
    names = sorted({task.class_name for task in inside})
    found = {name: _summary([task for task in inside if task.class_name == name]) for name in names}
    return found if len(found) < 2 else {ALL: _summary(inside), **found}


def _summary(tasks: list[Task]) -> TaskSummary:
    done = [task for task in tasks if task.state is SessionState.DONE]
    costs = [task.cost_usd for task in tasks]
    total = None if None in costs else sum(filter(None, costs), Decimal(0))
    with localcontext(prec=60):
        each = None if total is None or not done else (total / len(done)).quantize(_USD_STEP)
    return TaskSummary(
        begun=len(tasks),
        finished=len(done),
        failed=sum(task.state is SessionState.FAILED for task in tasks),
        cut=sum(task.state is SessionState.CUT for task in tasks),
        time_s=distribution(np.array([task.time_s for task in tasks])),
        model_time_s=distribution(np.array([task.model_s for task in done])),
        calls_mean=float(np.mean([task.calls for task in done])) if done else None,
        calls_max=max((task.calls for task in done), default=0),
        tokens_mean=float(np.mean([task.tokens for task in done])) if done else None,
        cost_usd=total,
        usd_per_finished_task=each,
    )
