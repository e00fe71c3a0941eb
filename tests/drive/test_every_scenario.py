"""Every shipped scenario for a second or two, as YAML and as locustfile, on a mock whose clock runs ahead;
and what its usage counts as cached, against the ideal cache over the same requests.

The runs take turns on two cores, two at a time; each test waits for its own.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from servebench.drive.options import build_plan
from servebench.workload.planned import planned
from servebench.workload.scenario import load_scenario, scenario_names
from servebench.workload.sessions import split_id
from tests.mock_server.server_process import running_mock

ROOT = Path(__file__).resolve().parents[2]
# scenario -> (requests or sessions a second, seconds): a dozen requests of each
RATES: dict[str, tuple[float, float]] = {"agent_tools": (2, 3), "long_context": (4, 3)}
USUAL = (20.0, 0.8)
AS_YAML, AS_LOCUSTFILE = "yaml", "locustfile"

Ended = tuple[dict[str, Any], list[dict[str, Any]]]  # the manifest and the records
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # a starved machine is no failure


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> "Iterator[dict[tuple[str, str], Future[Ended]]]":
    """All that are wanted, by scenario and kind. A hundred times real time: a prompt of a million tokens is
    read in under a second.
    """
    wanted: list[Any] = [item for item in request.session.items if item.path == request.path]
    place = tmp_path_factory.mktemp("runs")
    with running_mock("--tier", "grok-4.3", "--time-scale", "100") as url, ThreadPoolExecutor(2) as pool:
        futures = {}
        for item in wanted:
            name = item.callspec.params["name"]
            kind = AS_LOCUSTFILE if "locustfile" in item.name else AS_YAML
            futures[name, kind] = pool.submit(carried_out, name, kind, url, place / f"{name}-{kind}")
        yield futures
        for future in futures.values():
            future.cancel()


def seed_of(name: str, kind: str) -> int:
    """Of its own, or the mock would know the texts."""
    return 100 + scenario_names().index(name) + (100 if kind == AS_LOCUSTFILE else 0)


def carried_out(name: str, kind: str, url: str, run_dir: Path) -> Ended:
    rate, duration = RATES.get(name, USUAL)
    command = ["--rate", str(rate), "--duration", str(duration), "--task-grace", "0", "--out", str(run_dir)]
    command += ["--model", "grok-4.3", "--seed", str(seed_of(name, kind))]
    if kind == AS_YAML:
        command = ["servebench", "run", name, "--target", url, "--processes", "0", "--quiet", *command]
    else:
        file = ROOT / "locustfiles" / f"{name}.py"
        more = ["--headless", "--only-summary", "-t", "240s"]
        command = ["locust", "-f", str(file), "--host", url, *more, *command]
    done = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode in (0, 5), done.stderr  # a busy machine may be INVALID
    rows = [json.loads(line) for line in (run_dir / "requests.jsonl").read_text().splitlines()]
    return json.loads((run_dir / "manifest.json").read_text()), rows


@pytest.mark.parametrize("name", scenario_names())
def test_a_scenario_runs_and_reaches_its_cache_share(
    name: str, runs: "dict[tuple[str, str], Future[Ended]]"
) -> None:
    facts, rows = runs[name, AS_YAML].result()
    assert facts["scenario"]["name"] == name
    assert len(rows) == facts["planned_requests"] or name == "agent_tools"
    assert {row["outcome"] for row in rows} == {"success"}
    rate, duration = RATES.get(name, USUAL)
    seed = seed_of(name, AS_YAML)
    plan = build_plan(load_scenario(name), model="grok-4.3", seed=seed, rate_rps=rate, duration_s=duration)
    ideal = planned(plan.build())
    calls = zip(ideal.arrival.tolist(), ideal.call.tolist(), strict=True)
    cached = dict(zip(calls, ideal.cached_tokens.tolist(), strict=True))
    prompt_tokens = sum(row["prompt_tokens"] for row in rows)
    wanted = sum(cached[split_id(row["id"])] for row in rows) / prompt_tokens
    found = sum(row["cached_tokens"] for row in rows) / prompt_tokens
    assert found == pytest.approx(wanted, abs=0.03)


@pytest.mark.parametrize("name", scenario_names())
def test_a_scenario_runs_as_a_locustfile(name: str, runs: "dict[tuple[str, str], Future[Ended]]") -> None:
    facts, rows = runs[name, AS_LOCUSTFILE].result()
    assert facts["scenario"]["name"] == name
    assert len(rows) >= 2
    assert {row["outcome"] for row in rows} == {"success"}
