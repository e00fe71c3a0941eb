"""Sessions: tasks of many calls. A session starts open loop; call k + 1 follows the end of call k and a wait.

A session is `turns` messages of a user; each takes `calls` calls of the model, of which all but the last end
in a tool call. What is appended between two calls of a turn is the tool's result, between two turns the
user's next message, and each time the model's own answer before it:

    prompt(k + 1) = prompt(k) + answer(k) + result(k) or message(k)

The prompt only grows at its end, so that a prefix cache can hit all of the one before. Answers in the history
are of a drawn length, not what the server said: bytes are then the same on any worker and any server, and a
call that was to end in a tool call says so (tool_choice), so that a task takes the calls that were drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from servebench.workload.draws import uniforms
from servebench.workload.lengths import Distribution

Ints = NDArray[np.int64]
Role = Literal["tool", "user"]

MAX_CALLS = 1024  # of a session: its draws are numbered session * MAX_CALLS + call
ARRIVALS = 1 << 40  # request id = arrival + call * ARRIVALS: single requests keep the arrival's number


class SessionShape(BaseModel):
    """Of a class: how its sessions go on. All are distributions, drawn once a session, turn or call.

    calls_per_turn counts the calls of one turn; 1 needs no tools.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    turns: Distribution
    calls_per_turn: Distribution
    answer_tokens: Distribution
    result_tokens: Distribution
    message_tokens: Distribution
    tool_time_s: Distribution
    think_time_s: Distribution


@dataclass(frozen=True, slots=True)
class Step:
    """What one call left in the history: the answer, then a tool's result (role tool) or the next message.

    wait_s: from the end of the call to the start of the next.
    """

    answer_tokens: int
    role: Role
    tokens: int
    wait_s: float


@dataclass(frozen=True, slots=True)
class TurnOutcome:
    """What the driver knows of a call that ended: ok (a whole answer came), and its parseable tool calls."""

    ok: bool
    tool_calls: int = 0


@dataclass(frozen=True, slots=True)
class NextTurn:
    """Request `id` is to start wait_s after the end of the call before it."""

    id: int
    wait_s: float


def split_id(id: int) -> tuple[int, int]:
    """The arrival (the session, of a class with sessions) and the call in it, from 0."""
    call, arrival = divmod(id, ARRIVALS)
    return arrival, call


def join_id(arrival: int, call: int) -> int:
    return arrival + call * ARRIVALS


def session_steps(shape: SessionShape, *, seed: int, session: int, growth_tokens: int) -> tuple[Step, ...]:
    """The steps between the calls of one session: calls - 1 of them; () is a session of one call.

    growth_tokens: what the context window has room for beyond the first prompt; a session ends before it.
    """
    roles = _roles(shape, seed=seed, session=session)
    count = len(roles)
    if count == 0:
        return ()

    def drawn(name: str, dist: Distribution) -> NDArray[np.float64]:
        return dist.quantile(uniforms(seed, f"session/{name}", session * MAX_CALLS, count))

    answers = np.maximum(np.rint(drawn("answer_tokens", shape.answer_tokens)), 0).astype(np.int64)
    results = np.maximum(np.rint(drawn("result_tokens", shape.result_tokens)), 1).astype(np.int64)
    messages = np.maximum(np.rint(drawn("message_tokens", shape.message_tokens)), 1).astype(np.int64)
    tool_s, think_s = drawn("tool_time_s", shape.tool_time_s), drawn("think_time_s", shape.think_time_s)
    of_tool = np.array([role == "tool" for role in roles])
    added = np.where(of_tool, results, messages)
    waits = np.where(of_tool, tool_s, think_s)
    kept = int(np.searchsorted(np.cumsum(answers + added), growth_tokens, side="right"))
    return tuple(
        Step(int(answers[k]), roles[k], int(added[k]), float(waits[k])) for k in range(min(kept, count))
    )


def _roles(shape: SessionShape, *, seed: int, session: int) -> list[Role]:
    """Who speaks after each call but the last."""
    first = session * MAX_CALLS
    turns = int(shape.turns.tokens(uniforms(seed, "session/turns", session, 1))[0])
    turns = min(turns, MAX_CALLS)
    calls = shape.calls_per_turn.tokens(uniforms(seed, "session/calls", first, turns))
    roles: list[Role] = []
    for count in calls.tolist():
        roles.extend(["tool"] * (count - 1))
        roles.append("user")
    return roles[: min(len(roles) - 1, MAX_CALLS - 1)]


def prompt_tokens_after(first_tokens: int, steps: Sequence[Step]) -> int:
    """Prompt tokens of the call that has these steps behind it."""
    return first_tokens + sum(step.answer_tokens + step.tokens for step in steps)
