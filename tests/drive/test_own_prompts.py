"""`run --prompts`, a scenario's `prompts`, `--trace-speed`: what the user wrote is what the server gets."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from servebench.drive.options import build_plan
from servebench.drive.start import RunRequest, checked_plan
from servebench.errors import UsageError
from servebench.workload.scenario import load_scenario

SERVEBENCH = [sys.executable, "-m", "servebench"]
SCENARIO = """\
name: own
prompts: texts
load: {rate_rps: 5, process: constant, duration_s: 2}
classes: [{name: ask, input_tokens: 300, output_tokens: 4, reasoning_effort: none}]
"""


def run(*arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*SERVEBENCH, "run", *arguments], cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "texts").mkdir()
    for name in ("a", "b"):
        (tmp_path / "texts" / f"{name}.txt").write_text(f"{name} " * 400)
    path = tmp_path / "own.yaml"
    path.write_text(SCENARIO)
    return path


def test_a_scenario_names_prompts_beside_its_own_file(own: Path, tmp_path: Path) -> None:
    plan = build_plan(load_scenario(own), model=None, seed=1)
    assert plan.prompts is not None
    assert plan.prompts.name == "texts"
    workload = plan.build()
    assert [json.loads(workload.body(id))["messages"][0]["content"][0] for id in range(3)] == ["a", "b", "a"]
    (tmp_path / "other.jsonl").write_text('{"prompt": "the flag wins"}\n')
    plan = build_plan(load_scenario(own), model=None, seed=1, prompts=str(tmp_path / "other.jsonl"))
    assert b"the flag wins" in plan.build().body(0)
    own.write_text(SCENARIO.replace("texts", "none"))
    with pytest.raises(UsageError, match="none: cannot be read"):
        build_plan(load_scenario(own), model=None, seed=1)
    session = "session: {turns: 1, calls_per_turn: 1, answer_tokens: 1, result_tokens: 1, message_tokens: 1, "
    own.write_text(SCENARIO.replace("}]", f", {session}tool_time_s: 0, think_time_s: 0}}}}]"))
    with pytest.raises(UsageError, match="prompts: are single requests"):
        load_scenario(own)


def test_all_bad_lines_and_files_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text('{"prompt": 1}\n{"prompt": "fine"}\n{broken\n')
    done = run("chat", "--prompts", "p.jsonl", cwd=tmp_path)
    assert done.returncode == 2
    assert "p.jsonl, line 1: must be a list of messages" in done.stderr
    assert "p.jsonl, line 3: not JSON" in done.stderr
    assert "Traceback" not in done.stderr
    (tmp_path / "d" / ".git").mkdir(parents=True)
    for name in ("one", "two", ".git/blob"):
        (tmp_path / "d" / name).write_bytes(b"\xff\xfe")
    done = run("chat", "--prompts", "d", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("is not UTF-8 text") == 2
    assert not (tmp_path / "runs").exists()


def test_a_trace_replayed_faster_covers_as_much_more_of_it(tmp_path: Path) -> None:
    rows = [{"timestamp_s": k / 2, "input_tokens": 300 + k, "output_tokens": 5} for k in range(80)]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    trace = str(tmp_path / "t.jsonl")
    request = RunRequest(scenario="chat", trace=trace, trace_start_s=4, trace_speed=5, duration_s=3)
    workload = checked_plan(request)[0].build()
    assert len(workload.intended_ns) == 30  # fifteen of its seconds
    assert workload.duration_s == 3
    assert [workload.spec(id).prompt_tokens for id in (0, 29)] == [308, 337]
    assert workload.intended_ns[29] == 2_900_000_000


@pytest.mark.slow
def test_prompts_of_ones_own_reach_the_mock(own: Path, tmp_path: Path) -> None:
    done = run(str(own), "--processes", "0", "--quiet", "--json", "--out", "r", cwd=tmp_path)
    assert done.returncode in (0, 5), done.stderr
    rows = [json.loads(line) for line in (tmp_path / "r" / "requests.jsonl").read_text().splitlines()]
    assert {row["outcome"] for row in rows} == {"success"}
    assert {row["prompt_tokens"] for row in rows} == {192 + 200}  # two bytes a word, four bytes a token
    facts = json.loads(done.stdout)["run"]
    assert facts["prompts"] == "texts"
    assert any("repeats hit the prefix cache" in note for note in facts["notes"])
