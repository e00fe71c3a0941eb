"""Calibrate to a run: a hidden profile's run, in virtual time, is fitted to and replayed; bad runs are
refused.
"""

import json
from array import array
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from servebench.catalog.load import load_catalog
from servebench.catalog.profile import with_profiles
from servebench.catalog.provenance import Kind
from servebench.catalog.tiers import Tier
from servebench.cli import cli
from servebench.errors import ServebenchError, UsageError
from servebench.meter.record import Outcome, RequestRecord
from servebench.plan.demand import Demand
from servebench.plan.measured_load import measured_load
from servebench.plan.replay_errors import errors
from servebench.plan.run_fit import KNOBS, with_factors
from servebench.plan.simulation import SimulationResult, simulate
from servebench.results.parts import PartWriter, gather_parts
from servebench.results.run_directory import read_run, write_manifest
from servebench.results.summary import summarise_run
from servebench.workload.scenario import load_scenario, parse_scenario

CATALOG = load_catalog()
BASE = CATALOG.tier("grok-4.3")
GPU = CATALOG.gpu(BASE.serving.gpu_id)
# the floor, the prefill rate, the latency per layer, a sequence's cost, the memory's efficiency
HIDDEN = {
    "ttft_floor_s": 0.7,
    "mfu": 0.6,
    "layer_latency_s": 1.3,
    "sequence_overhead_s": 1.5,
    "hbm_efficiency": 0.9,
    "prefill_layer_latency_s": 1.0,
}
QUANTILES = (0.5, 0.9, 0.95)
SHORT = """
name: short
load: {rate_rps: 20, duration_s: 10}
classes:
  - name: chat
    input_tokens: {dist: lognormal, median: 900, sigma: 1.0, min: 200, max: 20000}
    output_tokens: {dist: uniform, min: 10, max: 50}
    reasoning_effort: none
"""


def hidden(tier: Tier) -> Tier:
    return with_factors(tier, np.log([HIDDEN[knob.name] for knob in KNOBS]))


def served(tier: Tier, *, count: int, rate_rps: float, seed: int) -> SimulationResult:
    traffic = Demand(parse_scenario(SHORT, "short"), BASE, seed=1).traffic(count, rate_rps=rate_rps, cv=1.1)
    return simulate(traffic, tier=tier, gpu=GPU, replicas=1, seed=seed)


def written(
    run_dir: Path, result: SimulationResult, *, model: str = "grok-4.3", lag_ns: int = 50_000
) -> Path:
    """The simulated requests as the records of a run."""
    write_manifest(
        run_dir,
        {"schema": 1, "run_id": "hidden", "scenario": {"name": "chat", "classes": []}, "model": model,
         "mode": "open", "warmup_s": 0.0, "duration_s": float(result.arrival_s[-1]) + 1,
         "planned_requests": len(result.arrival_s), "slo": [], "goodput": []},
    )  # fmt: skip
    writer = PartWriter(run_dir, 0)
    for k in range(len(result.arrival_s)):
        at = round(float(result.arrival_s[k]) * 1e9)
        first, last = (at + lag_ns + round(float(v[k]) * 1e9) for v in (result.ttft_s, result.e2e_s))
        record = RequestRecord(
            id=k, class_name="chat", session=None, turn=0, model=model, intended_ns=at, sent_ns=at + lag_ns,
            first_token_ns=first, first_visible_ns=first, last_token_ns=last, end_ns=last + 1_000,
            outcome=Outcome.SUCCESS, status=200, finish_reason="length",
            prompt_tokens=int(result.prompt_tokens[k]), cached_tokens=int(result.cached_tokens[k]),
            completion_tokens=int(result.output_tokens[k]), reasoning_tokens=0, usage_source="usage",
            chunks=1, asked_output_tokens=int(result.output_tokens[k]),
        )  # fmt: skip
        writer.write(record, array("i", [int(result.ttft_s[k] * 1e6)]))
    writer.close()
    gather_parts(run_dir)
    return run_dir


def calibrate(*arguments: str) -> dict[str, Any]:
    done = CliRunner().invoke(cli, ["calibrate", *arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def refusal(*arguments: str) -> str:
    done = CliRunner().invoke(cli, ["calibrate", *arguments])
    assert isinstance(done.exception, ServebenchError)
    return str(done.exception)


def test_a_hidden_profile_is_replayed_within_five_per_cent(tmp_path: Path) -> None:
    """Round trip: run, calibrate, replay with another seed of the noise: p50, p90 and p95."""
    measured = served(hidden(BASE), count=900, rate_rps=20, seed=5)
    out = tmp_path / "fitted.yaml"
    answer = calibrate(str(written(tmp_path / "run", measured)), "--out", str(out))
    catalog, ids = with_profiles(CATALOG, [out])
    assert ids == ["grok-4.3"]
    fitted = catalog.tier("grok-4.3")
    assert (fitted.solved, fitted.operating_point) == (None, None)
    assert fitted.sources["layer_latency_s"].kind is Kind.DERIVED
    assert "fitted to the run hidden" in fitted.sources["layer_latency_s"].source
    replays = [served(fitted, count=900, rate_rps=20, seed=seed) for seed in (6, 7, 8)]
    for name in ("ttft_s", "tpot_s"):
        one = getattr(measured, name)
        other = np.concatenate([getattr(replay, name) for replay in replays])
        for q in QUANTILES:
            assert np.quantile(other, q) / np.quantile(one, q) == pytest.approx(1, abs=0.05), (name, q)
    # and it wasn't so before: the base profile is a quarter off
    assert abs(answer["tpot_of_the_base"]["p50_error"]) > 0.1
    for name in ("ttft", "tpot"):
        assert answer[name]["median_abs_error"] < answer[f"{name}_of_the_base"]["median_abs_error"]
    for rows in answer["tpot_by_load"]:
        assert rows["replay_s"] == pytest.approx(rows["measured_s"], rel=0.12)


@pytest.mark.slow
def test_a_server_at_its_limit_is_fitted_too(tmp_path: Path) -> None:
    """There TPOT is mostly prompts: the latency per layer must not be taken for what they cost."""
    traffic = Demand(load_scenario("mixed"), BASE, seed=1).traffic(700, rate_rps=12, cv=1.0)
    measured = simulate(traffic, tier=hidden(BASE), gpu=GPU, replicas=1, seed=1)
    answer = calibrate(str(written(tmp_path / "run", measured)))
    assert answer["factors"]["layer_latency_s"] < 2.2
    assert abs(answer["tpot"]["p50_error"]) < 0.15
    assert answer["ttft"]["p90_noise"] > 0.02  # queues amplify the noise of steps


def test_the_noise_is_what_two_draws_differ_by() -> None:
    draws = np.random.default_rng(3)
    servers = 1 + 0.02 * draws.standard_normal((200, 1))
    one = np.sort(draws.uniform(1, 2, 5_000))
    found = errors(servers * one, one)
    for q in QUANTILES:
        pairs = servers[::2, 0] / servers[1::2, 0] - 1
        assert found.noise[q] == pytest.approx(float(np.quantile(np.abs(pairs), 0.95)), rel=0.25)
    assert errors(one[None], one).noise == {}


def test_a_model_that_no_catalog_has_is_served_under_its_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("servebench.plan.run_fit.MAX_ROUNDS", 1)  # how well it fits is not asked here
    monkeypatch.setattr("servebench.plan.run_fit.POLISH", ())
    measured = served(BASE, count=260, rate_rps=8, seed=5)
    out = tmp_path / "fitted.yaml"
    answer = calibrate(str(written(tmp_path / "run", measured, model="my-model")), "-o", str(out))
    assert (answer["base"], answer["aliases"]) == ("grok-4.3", ["grok-4.3-latest", "my-model"])
    catalog, _ = with_profiles(CATALOG, [out])
    assert catalog.tier("my-model").id == "grok-4.3"


def test_runs_that_say_too_little_are_refused(tmp_path: Path) -> None:
    few = written(tmp_path / "few", served(BASE, count=150, rate_rps=8, seed=1))
    assert "has 150 requests with a TTFT" in refusal(str(few))
    late = written(tmp_path / "late", served(BASE, count=260, rate_rps=8, seed=1), lag_ns=40_000_000)
    assert "is INVALID" in refusal(str(late))
    assert "is no run directory" in refusal(str(tmp_path / "nothing"))
    assert "a run directory, or --published" in refusal()
    assert "a run directory, or --published" in refusal(str(few), "--published")


def test_what_cannot_be_fitted_is_left_out(tmp_path: Path) -> None:
    """Whole tool calls come with the last token; a failure has no times; an unknown size is not in the
    replay.
    """
    run_dir = written(tmp_path / "run", served(BASE, count=260, rate_rps=8, seed=1))
    run = read_run(run_dir)
    summary = summarise_run(run, price_of=None)
    run.records[3] = replace(run.records[3], tool_calls=1)
    run.records[4] = replace(run.records[4], completion_tokens=None)
    load = measured_load(run, summary)
    assert (len(load), load.left_out) == (259, 1)
    assert np.isnan(load.ttft_s[3])
    traffic, keys = load.traffic(block_tokens=64)
    assert len(keys) == BASE.preamble_tokens // 64
    assert len(traffic) == 259
    assert load.in_flight().min() >= 1
    with pytest.raises(UsageError, match="INVALID"):
        measured_load(run, replace(summary, valid=False, invalid_reasons=("no",)))
