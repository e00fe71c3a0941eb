"""The examples load, build, and run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from servebench.workload.prompt_files import load_prompts
from servebench.workload.scenario import load_scenario
from tests.mock_server.server_process import running_mock
from tests.workload.plans import plan

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def test_the_example_scenario_builds_with_questions_and_sessions() -> None:
    workload = plan(scenario=load_scenario(EXAMPLES / "support_bot.yaml")).build()
    assert workload.notes == ()
    arrivals = range(len(workload.intended_ns))
    turns = [workload.session_turns(id) for id in arrivals]
    assert {workload.spec(id).class_name for id in arrivals} == {"question", "lookup"}
    assert set(turns) == {1, 2, 3, 4, 5}


def test_the_example_prompts_are_sent() -> None:
    workload = plan(prompts=load_prompts(EXAMPLES / "prompts.jsonl")).build()
    assert b"continuous batching" in workload.body(0)
    assert workload.spec(1).output_tokens == 200


@pytest.mark.slow
def test_the_example_user_runs_under_locust_with_all_that_is_measured(tmp_path: Path) -> None:
    """Open loop with its questions and sessions, then closed loop with Locust's own -u."""
    locust = [sys.executable, "-m", "locust", "-f", str(EXAMPLES / "support_bot.py"), "--headless"]
    with running_mock("--tier", "grok-4.3", "--time-scale", "20") as url:
        for out, flags in (
            ("open", ["--rate", "15", "--duration", "2", "--task-grace", "20", "-t", "60s", "--seed", "3"]),
            ("closed", ["-u", "2", "-r", "2", "-t", "3s"]),
        ):
            command = [*locust, "--host", url, "--only-summary", "--out", out, *flags]
            done = subprocess.run(
                command, cwd=tmp_path, capture_output=True, text=True, timeout=80, check=False
            )
            assert "Traceback" not in done.stderr, done.stderr
            summary = json.loads((tmp_path / out / "summary.json").read_text())
            assert summary["run"]["scenario"] == "support_bot"
            assert summary["run"]["mode"] == out
            outcomes = {name for name, count in summary["classes"]["all"]["outcomes"].items() if count}
            assert outcomes <= {"success", "aborted", "unsent"}  # the last two where a slow machine was cut
            assert (tmp_path / out / "report.html").exists()
            if out == "open":
                assert done.returncode == 0, done.stderr
                assert set(summary["classes"]) == {"all", "question", "lookup"}
                tasks = summary["tasks"]["lookup"]
                assert tasks["begun"] == tasks["finished"] >= 1
