"""servebench plan as a CI job sees it: one process, its exit code, its JSON, its sentences."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from servebench.catalog.load import load_catalog
from servebench.catalog.profile import profile_text

SMALL = """
name: small
load: {rate_rps: 4, duration_s: 10}
classes:
  - {name: quick, weight: 3, input_tokens: 12000, output_tokens: 12, reasoning_effort: none}
  - {name: slow, weight: 1, input_tokens: 20000, output_tokens: 40, reasoning_effort: none}
"""


@pytest.fixture
def scenario(tmp_path: Path) -> str:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return str(path)


def plan(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "servebench", "plan", *arguments],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def planned(*arguments: str) -> tuple[int, dict[str, Any]]:
    done = plan(*arguments, "--json")
    return done.returncode, json.loads(done.stdout)


def test_a_plan_that_holds(scenario: str, tmp_path: Path) -> None:
    out = tmp_path / "plan.json"
    arguments = (scenario, "--rate", "20", "--tier", "grok-5-large", "--slo", "ttft p99 < 2s", "--seed", "3")
    done = plan(*arguments, "--out", str(out))
    assert (done.returncode, done.stderr) == (0, "")
    answer = json.loads(out.read_text())
    assert answer["verdict"] == "PASS"
    assert answer["replicas"] >= 2
    assert answer["gpus"] == 32 * answer["replicas"]
    assert answer["usd_per_h"]["hyperscaler"] == f"{answer['gpus'] * 2.65:.2f}"
    assert answer["megawatts"] == pytest.approx(answer["gpus"] * 2.10 / 1000)
    assert answer["simulated"]["ttft_s"]["p99"] < 2
    assert answer["simulated"]["checks"][0]["n"] >= 1_307
    assert "params_active" in answer["modelled"]
    assert "MODELLED" in done.stdout
    assert f"{answer['replicas']} x 32" in done.stdout
    assert planned(*arguments) == (0, answer)  # the same seed, the same answer


def test_an_slo_that_no_replica_meets(scenario: str) -> None:
    code, answer = planned(scenario, "--rate", "5", "--tier", "grok-4.3", "--slo", "tpot p99 < 2ms")
    assert (code, answer["verdict"], answer["replicas"]) == (3, "FAIL", None)
    assert "no number of grok-4.3 replicas" in answer["reason"]
    assert "over the limit of 0.002 s" in answer["reason"]


def test_more_gpus_than_allowed(scenario: str) -> None:
    code, answer = planned(scenario, "--rate", "30", "--slo", "ttft p99 < 2s", "--max-gpus", "8")
    assert (code, answer["tier"], answer["verdict"]) == (3, "grok-4.3", "FAIL")
    assert f"{answer['gpus'] - 8} more than the 8 allowed" in answer["reason"]


def test_too_close_to_call(scenario: str) -> None:
    """A limit that lies where about one request in a hundred, alone on its replica, is: neither is shown."""
    limits = ("--rate", "4", "--tier", "grok-4.3", "--slo")
    _, sure = planned(scenario, *limits, "e2e p99 < 1ms")
    alone_s = sure["simulated"]["e2e_s"]["p99"]
    code, answer = planned(scenario, *limits, f"e2e p99 <= {alone_s * 1000:.6f}ms")
    assert (code, answer["verdict"]) == (4, "INCONCLUSIVE")


def test_the_preset_where_no_slo_is_given(scenario: str) -> None:
    done = plan(scenario, "--tier", "grok-4.3", "--json", "--arrival-cv", "1")
    answer = json.loads(done.stdout)
    assert answer["slo"] == ["ttft p99 < 2000ms", "tpot p99 < 80ms"]
    assert (answer["rate_rps"], answer["cv_1"]) == (4, None)
    assert "preset standard" in done.stderr


def test_the_limits_of_the_scenario_and_its_classes_where_no_slo_is_given(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(
        SMALL.replace("classes:", "slo: [ttft p90 < 3s]\nclasses:").replace(
            "output_tokens: 12,", 'output_tokens: 12, slo: ["tpot p90 < 90ms", "ttfvt p90 < 3s"],'
        )
    )
    done = plan(str(path), "--json", "--arrival-cv", "1", "--max-gpus", "800")
    answer = json.loads(done.stdout)
    assert answer["slo"] == ["ttft p90 < 3s", "quick: tpot p90 < 90ms"]
    assert "the scenario's own (ttft p90 < 3s, quick: tpot p90 < 90ms)" in done.stderr
    assert "not judged by a plan: quick: ttfvt p90 < 3s" in done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("nowhere", "--rate", "5"), "no scenario 'nowhere'"),
        (("chat", "--rate", "5", "--tier", "gpt-9"), "unknown tier 'gpt-9'; known: grok-4.3"),
        (("chat", "--rate", "5", "--slo", "ttft < 2s"), "names no percentile"),
        (("chat", "--rate", "5", "--slo", "itl p99 < 2s"), "a plan judges ttft"),
        (("chat", "--rate", "5", "--slo", "batch"), "no SLO to plan for"),
        (("chat", "--rate", "0"), "--rate"),
        (("chat", "--rate", "5", "--disaggregate", "999:1"), "a group has at most 32 replicas"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_2(arguments: tuple[str, ...], sentence: str) -> None:
    done = plan(*arguments)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_a_profile_of_another_tier_is_not_passed_over(tmp_path: Path) -> None:
    profile = tmp_path / "small.yaml"
    profile.write_text(profile_text(load_catalog().tier("grok-5-small"), head="as it is"))
    done = plan("chat", "--rate", "5", "--profile", str(profile), "--tier", "grok-4.3")
    assert done.returncode == 2
    assert "--profile is of grok-5-small, not of grok-4.3" in done.stderr


def test_a_file_that_cannot_be_written_is_exit_1(scenario: str, tmp_path: Path) -> None:
    done = plan(scenario, "--slo", "tpot p99 < 1ms", "--out", f"{scenario}/plan.json")
    assert done.returncode == 1
    assert "plan.json could not be written" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("tier_id", "replicas"), [("grok-4.3", 3), ("grok-5-large", 5)])
def test_fifty_chat_requests_a_second(tier_id: str, replicas: int) -> None:
    code, answer = planned("chat", "--rate", "50", "--tier", tier_id, "--slo", "standard")
    assert (code, answer["verdict"]) == (0, "PASS")
    assert answer["replicas"] == replicas
    assert 0.75 < answer["simulated"]["checks"][0]["n"] / (50 * 120) <= 1
    # TPOT binds: bursts of prompts share their steps, so calmer arrivals need not carry more
    assert answer["cv_1"]["replica_capacity_rps"] > 0.5 * answer["replica_capacity_rps"]


def test_a_days_peak_and_spare_replicas(scenario: str) -> None:
    limits = ("--tier", "grok-4.3", "--slo", "ttft p90 < 2s", "--arrival-cv", "1")
    _, flat = planned(scenario, "--rate", "24", *limits)
    _, peak = planned(
        scenario, "--rate", "8", *limits, "--peak", "2", "--burst", "0.5", "--availability", ".99"
    )
    assert (peak["rate_rps"], peak["mean_rps"]) == (24, 8)
    assert peak["replicas"] - peak["spare_replicas"] == flat["replicas"]
    assert peak["spare_replicas"] >= 1
    assert flat["spare_replicas"] == 0
    assert peak["gpus"] == 8 * peak["replicas"]
    assert peak["cross_check"]["calls_per_s"] > 0
    assert peak["cross_check_erlang_c"]["calls_per_s"] > 0
    # the same hours for a third of the tokens, and the spares' hours besides
    ratio = float(peak["usd_per_million_tokens"]["rental"]) / float(flat["usd_per_million_tokens"]["rental"])
    assert ratio == pytest.approx(3 * peak["replicas"] / flat["replicas"], rel=1e-3)


def test_sessions_are_planned_call_by_call(tmp_path: Path) -> None:
    path = tmp_path / "agents.yaml"
    path.write_text(AGENTS)
    limits = ("--slo", "tpot p90 < 10ms", "--tier", "grok-4.3", "--arrival-cv", "1")
    done = plan(str(path), "--rate", "1", *limits)
    assert done.returncode == 0
    assert "4.0 calls" in done.stdout
    assert "sessions/s" in done.stdout
    assert "calls/s)" in done.stdout


AGENTS = """
name: agents
load: {rate_rps: 1, duration_s: 10}
classes:
  - name: agent
    input_tokens: 3000
    output_tokens: 60
    reasoning_effort: none
    tools: [run_sql]
    session:
      {turns: 2, calls_per_turn: 2, answer_tokens: 20, result_tokens: 500, message_tokens: 50,
       tool_time_s: 0.2, think_time_s: 1}
"""


def test_all_tiers_side_by_side(scenario: str, tmp_path: Path) -> None:
    out = tmp_path / "tiers.json"
    limits = ("--rate", "10", "--slo", "ttft p90 < 3s", "--arrival-cv", "1")
    done = plan(scenario, "--tier", "all", *limits, "--out", str(out))
    assert done.returncode == 0
    answer = json.loads(out.read_text())
    assert [p["tier"] for p in answer["plans"]] == list(load_catalog().tiers)
    usd = {p["tier"]: float(p["usd_per_h"]["hyperscaler"]) for p in answer["plans"] if p["verdict"] == "PASS"}
    assert usd[answer["cheapest"]] == min(usd.values())
    assert "PASS: cheapest is" in done.stdout
    refused = plan(scenario, "--tier", "all", "--verify")
    assert (refused.returncode, "give one --tier" in refused.stderr) == (2, True)
