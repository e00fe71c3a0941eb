"""Sessions end to end: each later call follows the one before it and finds its prompt in the cache; tasks
finish, and are counted as tasks.
"""

import json
import subprocess
import sys
from collections import defaultdict
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from servebench.workload.plan import Workload
from servebench.workload.scenario import load_scenario
from servebench.workload.sessions import join_id
from tests.mock_server.fast_mock import fast_mock, fast_tier
from tests.mock_server.json_schema import violations
from tests.workload.plans import plan

SCENARIO = Path(__file__).parent / "sessions.yaml"


def run(tmp_path: Path, *arguments: str) -> tuple[dict[str, Any], dict[int, list[dict[str, Any]]]]:
    """The summary, and the records of each session by turn."""
    command = [sys.executable, "-m", "servebench", "run", str(SCENARIO), "--out", "r", "--quiet", "--json"]
    done = subprocess.run(
        [*command, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode in (0, 5), done.stderr
    sessions: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for line in (tmp_path / "r" / "requests.jsonl").read_text().splitlines():
        row = json.loads(line)
        sessions[row["session"]].append(row)
    return json.loads(done.stdout), {
        number: sorted(calls, key=lambda call: int(call["turn"])) for number, calls in sessions.items()
    }


@pytest.mark.slow
def test_calls_of_a_session_follow_one_another_and_tasks_finish(tmp_path: Path) -> None:
    summary, sessions = run(tmp_path, "--processes", "2", "--task-grace", "20")
    assert len(sessions) == 8
    for calls in sessions.values():
        assert [call["turn"] for call in calls] == [0, 1, 2], "begun in time, it ran to its end"
        assert [call["tool_calls"] for call in calls] == [1, 1, 0]
        assert [call["session_state"] for call in calls] == ["goes_on", "goes_on", "done"]
        for before, after in pairwise(calls):
            assert after["intended_s"] == pytest.approx(before["end_s"] + 0.1, abs=1e-6)
            assert after["prompt_tokens"] > before["prompt_tokens"]
            assert after["cached_tokens"] >= before["prompt_tokens"] - 128, "all but the last block was seen"
    tasks = summary["tasks"]["agent"]
    assert (tasks["begun"], tasks["finished"], tasks["failed"], tasks["cut"]) == (8, 8, 0, 0)
    assert tasks["finished_share"] == 1
    assert tasks["calls_mean"] == 3
    spans = [calls[-1]["last_token_s"] - calls[0]["intended_s"] for calls in sessions.values()]
    assert tasks["time_s"]["mean"] == pytest.approx(sum(spans) / 8, abs=1e-6)
    assert Decimal(tasks["usd_per_finished_task"]) * 8 == pytest.approx(
        Decimal(summary["classes"]["all"]["cost_usd"]), abs=Decimal("1e-9")
    )
    page = (tmp_path / "r" / "report.html").read_text()
    assert "<h2>Tasks</h2>" in page


@pytest.mark.slow
def test_the_end_of_a_run_cuts_tasks_short_and_a_closed_loop_has_them_too(tmp_path: Path) -> None:
    summary, sessions = run(tmp_path, "--processes", "0", "--users", "2", "--duration", "4")
    _, end_s = summary["run"]["window_s"]
    begun = [calls for calls in sessions.values() if calls[0]["intended_s"] < end_s]
    assert len(begun) >= len(sessions) - 2, "a user may begin one more before it hears of the end"
    ends = [calls[-1]["session_state"] for calls in begun]
    assert ends.count("done") == summary["tasks"]["agent"]["finished"] >= 2
    for calls in sessions.values():
        assert [call["turn"] for call in calls] == list(range(len(calls)))
        for before, after in pairwise(calls):
            assert after["intended_s"] >= before["end_s"] + 0.1 - 1e-6
    tasks = summary["tasks"]["agent"]
    assert tasks["begun"] == tasks["finished"] + tasks["failed"] + tasks["cut"] == len(begun)


@pytest.mark.parametrize("name", ["agent_tools", "examples/support_bot.yaml"])
def test_tool_calls_satisfy_their_schemas_through_a_whole_session(name: str) -> None:
    scenario = load_scenario(name if name == "agent_tools" else Path(__file__).parents[2] / name)
    workload: Workload = plan(scenario=scenario).build()
    arrival = next(id for id in range(99) if 4 <= workload.session_turns(id) <= 9)
    schemas = {
        schema["function"]["name"]: schema["function"]["parameters"]
        for cls in workload.classes
        for schema in cls.tool_schemas
    }
    calls = workload.session_turns(arrival)
    with fast_mock(fast_tier(0.0001)) as mock, OpenAI(base_url=f"{mock.url}/v1", api_key="x") as client:
        for call in range(calls):
            body = json.loads(workload.body(join_id(arrival, call)))
            body.pop("stream"), body.pop("stream_options")
            message = client.chat.completions.create(**body).choices[0].message
            if workload.spec(join_id(arrival, call)).tool_choice == "required":
                assert message.tool_calls
                assert len(message.tool_calls) == 1
                made = message.tool_calls[0]
                assert made.type == "function"
                assert violations(json.loads(made.function.arguments), schemas[made.function.name]) == []
            else:
                assert message.content
                assert not message.tool_calls
