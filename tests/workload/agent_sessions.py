"""An agent whose sessions are short, and the calls of one that goes well."""

from typing import Any

from servebench.workload.plan import Workload
from servebench.workload.sessions import TurnOutcome

SHAPE: dict[str, Any] = {
    "turns": {"dist": "uniform", "min": 1, "max": 4},
    "calls_per_turn": {"dist": "uniform", "min": 1, "max": 5},
    "answer_tokens": {"dist": "lognormal", "median": 60, "p95": 300},
    "result_tokens": {"dist": "lognormal", "median": 400, "p95": 3000},
    "message_tokens": {"dist": "uniform", "min": 10, "max": 200},
    "tool_time_s": {"dist": "exponential", "mean": 0.5},
    "think_time_s": {"dist": "constant", "value": 7},
}
AGENT: dict[str, Any] = {
    "name": "agent",
    "input_tokens": {"dist": "uniform", "min": 2500, "max": 4000},
    "output_tokens": {"dist": "lognormal", "median": 300, "p95": 900, "max": 2000},
    "tools": ["search_documents", "run_sql", "create_ticket"],
    "shared_prefix": {"tokens": 1200, "variants": 2},
    "session": SHAPE,
}
DONE = TurnOutcome(ok=True, tool_calls=1)


def calls_of(workload: Workload, arrival: int) -> list[tuple[int, float]]:
    """(id, wait before it) of every call of a session that goes well."""
    calls, following = [(arrival, 0.0)], workload.next_turn(arrival, DONE)
    while following is not None:
        calls.append((following.id, following.wait_s))
        following = workload.next_turn(following.id, DONE)
    return calls
