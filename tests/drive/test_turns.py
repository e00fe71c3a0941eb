"""What follows an ended call: the next one, or an end with its reason."""

import dataclasses

import pytest

from servebench.drive.turns import Turns
from servebench.meter import Outcome, RequestRecord, SessionState
from servebench.workload.sessions import join_id
from tests.workload.plans import CHAT, plan

SESSION = {
    "turns": 1, "calls_per_turn": 3, "answer_tokens": 5, "result_tokens": 5, "message_tokens": 5,
    "tool_time_s": 0.5, "think_time_s": 1,
}  # fmt: skip
WORKLOAD = plan({**CHAT, "tools": ["run_sql"], "session": SESSION}, task_grace_s=2.0).build()


def ended(call: int, *, end_s: float = 1.0, **fields: object) -> RequestRecord:
    spec = WORKLOAD.spec(join_id(0, call))
    record = RequestRecord(
        id=spec.id, class_name=spec.class_name, session=spec.session, turn=spec.turn, model="m",
        intended_ns=0, sent_ns=0, first_token_ns=1, first_visible_ns=1, last_token_ns=1,
        end_ns=round(end_s * 1e9), outcome=Outcome.SUCCESS, tool_calls=1,
    )  # fmt: skip
    return dataclasses.replace(record, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("record", "state"),
    [
        (ended(0), SessionState.GOES_ON),
        (ended(2, tool_calls=0), SessionState.DONE),
        (ended(2, outcome=Outcome.STREAM_CUT), SessionState.FAILED),
        (ended(1, outcome=Outcome.HTTP_429), SessionState.FAILED),
        (ended(0, tool_calls=0), SessionState.FAILED),
        (ended(0, broken_tool_calls=1), SessionState.FAILED),
        (ended(0, tool_calls=2, broken_tool_calls=1), SessionState.GOES_ON),
        (ended(0, end_s=11.4), SessionState.GOES_ON),  # ten seconds of arrivals and two of grace
        (ended(0, end_s=11.6), SessionState.CUT),
    ],
)
def test_a_call_leaves_its_session_in_a_state(record: RequestRecord, state: SessionState) -> None:
    turns = Turns(WORKLOAD, lambda id, at_ns: None)
    found, following = turns.after(record)
    assert found is state
    assert (following is not None) == (state is SessionState.GOES_ON)
    if following is not None:
        assert following.id == join_id(0, record.turn + 1)
        assert following.intended_ns == record.end_ns + 500_000_000
    turns.stop()
    assert turns.after(record)[1] is None, "nothing follows once the run has been stopped"
