"""Tasks: conservation of calls and dollars, and the state of each session from its last call."""

import dataclasses
import math
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servebench.meter.record import Outcome, RequestRecord, SessionState
from servebench.results.steady_state import Window
from servebench.results.tasks import summarise_tasks, tasks_of
from servebench.workload.sessions import join_id

WINDOW = Window(0, 60 * 10**9)


def call(session: int, turn: int, state: SessionState, **fields: object) -> RequestRecord:
    start = session * 10**9 + turn * 2 * 10**9
    made = RequestRecord(
        id=join_id(session, turn), class_name="agent", session=session, turn=turn, model="m",
        intended_ns=start, sent_ns=start, first_token_ns=start + 10**8, first_visible_ns=start + 10**8,
        last_token_ns=start + 10**9, end_ns=start + 10**9 + 5, outcome=Outcome.SUCCESS, prompt_tokens=100,
        completion_tokens=10, usage_source="usage", cost_usd="0.01", cost_source="billed",
        session_state=state,
    )  # fmt: skip
    return dataclasses.replace(made, **fields)  # type: ignore[arg-type]


def session(number: int, calls: int, end: SessionState, **fields: object) -> list[RequestRecord]:
    whole = [call(number, turn, SessionState.GOES_ON) for turn in range(calls - 1)]
    return [*whole, call(number, calls - 1, end, **fields)]


def test_a_task_is_its_calls() -> None:
    records = [
        *session(0, 3, SessionState.DONE),
        *session(1, 2, SessionState.FAILED, outcome=Outcome.STREAM_CUT, last_token_ns=None),
        *session(2, 4, SessionState.CUT),
        *session(3, 1, SessionState.GOES_ON),  # the run was killed before its next call
        *session(99, 2, SessionState.DONE),  # began after the window
    ]
    one = summarise_tasks(records[::-1], WINDOW)["agent"]
    assert (one.begun, one.finished, one.failed, one.cut) == (4, 1, 1, 2)
    assert one.finished_share == 0.5
    assert one.calls_mean == 3
    assert one.cost_usd == Decimal("0.10")
    assert one.usd_per_finished_task == Decimal("0.1"), "what failed and what was cut is paid for too"
    tasks = tasks_of(records)
    assert tasks[0].time_s == 5.0  # two waits of a second between calls of a second
    assert tasks[0].model_s == pytest.approx(3.0)
    assert math.isinf(tasks[1].time_s)
    assert math.isnan(tasks[2].time_s)
    assert one.time_s.n == 2
    assert one.to_json()["usd_per_finished_task"] == "0.1"


def test_a_call_that_failed_fails_its_task_whatever_it_says() -> None:
    records = session(0, 2, SessionState.GOES_ON, outcome=Outcome.ABORTED, cost_usd=None)
    one = summarise_tasks(records, WINDOW)["agent"]
    assert (one.failed, one.cut) == (1, 0)
    assert one.finished_share == 0
    assert one.usd_per_finished_task is None
    assert one.cost_usd is None


def test_without_sessions_there_are_no_tasks_and_several_classes_have_a_sum() -> None:
    single = dataclasses.replace(call(0, 0, SessionState.DONE), session=None, session_state=None)
    assert summarise_tasks([single], WINDOW) == {}
    other = [dataclasses.replace(record, class_name="b") for record in session(1, 2, SessionState.DONE)]
    both = summarise_tasks([*session(0, 3, SessionState.DONE), *other], WINDOW)
    assert list(both) == ["all", "agent", "b"]
    assert both["all"].finished == 2
    assert both["all"].calls_mean == 2.5


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(st.integers(1, 6), st.sampled_from(SessionState), st.sampled_from(["0", "0.004", "1.5"])),
        max_size=20,
    ),
    st.randoms(use_true_random=False),
)
def test_calls_and_dollars_are_conserved(rows: "list[tuple[int, SessionState, str]]", random: object) -> None:
    records = [
        record
        for number, (calls, state, usd) in enumerate(rows)
        for record in session(number, calls, state, cost_usd=usd)
    ]
    random.shuffle(records)  # type: ignore[attr-defined]
    tasks = tasks_of(records)
    assert sum(task.calls for task in tasks) == len(records)
    assert sum((task.cost_usd or Decimal(0) for task in tasks), Decimal(0)) == sum(
        (Decimal(record.cost_usd or 0) for record in records), Decimal(0)
    )
    for one in summarise_tasks(records, WINDOW).values():
        assert one.begun == one.finished + one.failed + one.cut == len(rows)
