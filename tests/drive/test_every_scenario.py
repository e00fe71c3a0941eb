"""Every shipped scenario for a second or two, as YAML and as locustfile, on a mock whose clock runs ahead;
and what its usage counts as cached, against the ideal cache over the same requests.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from servebench.drive.options import build_plan
from servebench.workload.planned import planned
from servebench.workload.scenario import load_scenario, scenario_names
from servebench.workload.sessions import split_id
from tests.drive.mock_journal import assert_bills_agree, journal
from tests.mock_server.server_process import running_mock

ROOT = Path(__file__).resolve().parents[2]
# scenario -> (requests or sessions a second, seconds): some dozen requests of each
RATES: dict[str, tuple[float, float]] = {"agent_tools": (2, 3), "long_context": (4, 3)}
USUAL = (20.0, 0.8)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A hundred times real time: a prompt of a million tokens is read in under a second."""
    with running_mock("--tier", "grok-4.3", "--time-scale", "100") as url:
        yield url


def carried_out(command: list[str], run_dir: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The manifest and the records."""
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=run_dir.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in (0, 5), done.stderr  # a busy machine may be INVALID
    rows = [json.loads(line) for line in (run_dir / "requests.jsonl").read_text().splitlines()]
    return json.loads((run_dir / "manifest.json").read_text()), rows


@pytest.mark.slow
@pytest.mark.parametrize("name", scenario_names())
def test_a_scenario_runs_and_reaches_its_cache_share(name: str, url: str, tmp_path: Path) -> None:
    rate, duration = RATES.get(name, USUAL)
    seed = 100 + scenario_names().index(name)  # of its own, or the mock would know the texts
    command = ["servebench", "run", name, "--target", url, "--model", "grok-4.3", "--seed", str(seed)]
    command += ["--rate", str(rate), "--duration", str(duration), "--task-grace", "0", "--processes", "0"]
    facts, rows = carried_out([*command, "--quiet", "--out", "r"], tmp_path / "r")
    assert facts["scenario"]["name"] == name
    assert len(rows) == facts["planned_requests"] or name == "agent_tools"
    assert {row["outcome"] for row in rows} == {"success"}
    assert_bills_agree(rows, journal(url))
    plan = build_plan(
        load_scenario(name), model="grok-4.3", seed=seed, rate_rps=rate, duration_s=duration, task_grace_s=0
    )
    ideal = planned(plan.build())
    calls = zip(ideal.arrival.tolist(), ideal.call.tolist(), strict=True)
    cached = dict(zip(calls, ideal.cached_tokens.tolist(), strict=True))
    prompt_tokens = sum(row["prompt_tokens"] for row in rows)
    wanted = sum(cached[split_id(row["id"])] for row in rows) / prompt_tokens
    found = sum(row["cached_tokens"] for row in rows) / prompt_tokens
    assert found == pytest.approx(wanted, abs=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("name", scenario_names())
def test_a_scenario_runs_as_a_locustfile(name: str, url: str, tmp_path: Path) -> None:
    rate, duration = RATES.get(name, USUAL)
    command = ["locust", "-f", str(ROOT / "locustfiles" / f"{name}.py"), "--host", url, "--headless"]
    command += ["--rate", str(rate), "--duration", str(duration), "-t", "60s", "--seed", str(200 + len(name))]
    command += ["--task-grace", "0", "--out", "r", "--only-summary"]
    facts, rows = carried_out(command, tmp_path / "r")
    assert facts["scenario"]["name"] == name
    assert len(rows) >= 2
    assert {row["outcome"] for row in rows} == {"success"}
