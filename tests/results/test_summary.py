"""The summary of a run: its shape, its arithmetic against plain Python, and what makes it invalid."""

import json
import math
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from servebench.catalog.load import load_catalog
from servebench.meter.record import Outcome
from servebench.results.exit_code import exit_code
from servebench.results.facts import Objectives, RunFacts
from servebench.results.gate import Verdict
from servebench.results.parts import gather_parts
from servebench.results.run_directory import read_run
from servebench.results.slo import parse_goodput, parse_slos
from servebench.results.summary import Summary, summarise, summarise_run
from tests.results import made_run

LATENCY_KEYS = ("ttft_s", "ttfvt_s", "tpot_s", "itl_s", "e2e_s", "client_lag_s", "service_ttft_s")


def summary_of(made: made_run.Made, *texts: str, goodput: tuple[str, ...] = (), **facts: Any) -> Summary:
    slos = parse_slos(texts)
    duration_s = made[-1][0].intended_ns / 1e9 + 0.05 if made else 1.0
    known = RunFacts(duration_s=duration_s, planned_requests=len(made))
    return summarise(
        [record for record, _ in made],
        made_run.chunk_times(made),
        facts=replace(known, **facts),
        objectives=Objectives(slos, slos, parse_goodput(goodput) if goodput else None),
        price_of=load_catalog().price,
    )


def test_the_shape_of_the_file() -> None:
    page = summary_of(made_run.make(500, failed_share=0.02), "ttft p99 < 2s").to_json()
    assert json.loads(json.dumps(page, allow_nan=False)) == page
    assert page["schema"] == 1
    assert list(page["classes"]) == ["all", "chat", "code"]
    for one in page["classes"].values():
        assert one["offered"] == one["completed"] + one["failed"] == sum(one["outcomes"].values())
        for key in LATENCY_KEYS:
            assert {"p50", "p95", "p99", "mean", "n"} <= set(one[key])
        assert set(one["tokens"]) == {"input", "cached_input", "output", "reasoning"}
        assert isinstance(one["cost_usd"], str)
    assert page["classes"]["all"]["ttft_s"]["p99"] == "+Inf"
    assert page["classes"]["chat"]["ttft_s"]["p99"] is None  # 250 requests are too few


def test_percentiles_and_rates_against_plain_python() -> None:
    made = made_run.make(1000, rate_rps=20, failed_share=0.02)
    everything = summary_of(made).classes["all"]
    values = sorted(record.ttft_s if record.ok and record.ttft_s else math.inf for record, _ in made)
    p95 = everything.latency_s["ttft"].p95
    assert p95 is not None
    assert p95.value == values[949]
    completed = sum(record.ok for record, _ in made)
    assert (everything.offered, everything.completed) == (1000, completed)
    assert everything.offered_rps == pytest.approx(20, rel=0.001)
    assert everything.achieved_rps == pytest.approx(20, rel=0.001)
    assert everything.attainment == completed / 1000
    assert everything.goodput_rps == pytest.approx(20 * completed / 1000, rel=0.001)


def test_money_is_exact_and_splits_without_rest() -> None:
    made = made_run.make(700, failed_share=0.1)
    cost = summary_of(made).classes["all"].cost
    ticks = sum(record.billed_ticks or 0 for record, _ in made)
    assert cost.usd == Decimal(ticks) / 10**10
    assert sum(map(Decimal, cost.component_usd.values())) == cost.usd
    assert "unexplained" not in cost.component_usd
    assert cost.sources == {
        "billed": sum(record.ok for record, _ in made),
        "estimated": sum(not record.ok for record, _ in made),
    }


def test_what_the_sheet_does_not_explain_is_shown_apart() -> None:
    made = made_run.make(10)
    record, times = made[0]
    made[0] = (replace(record, cost_usd="0.5", billed_ticks=5 * 10**9), times)
    cost = summary_of(made).classes["all"].cost
    assert cost.usd is not None
    assert sum(map(Decimal, cost.component_usd.values())) == cost.usd
    assert Decimal(cost.component_usd["unexplained"]) > Decimal("0.49")


def test_wasted_dollars_are_those_of_failures() -> None:
    made = made_run.make(10)
    record, times = made[3]
    made[3] = (replace(record, outcome=Outcome.STREAM_CUT), times)
    cost = summary_of(made).classes["all"].cost
    assert cost.wasted_usd == Decimal(record.cost_usd or "")


def test_an_unknown_price_is_null_not_zero() -> None:
    made = [(replace(record, cost_usd=None, cost_source=None), times) for record, times in made_run.make(10)]
    summary = summary_of(made)
    page = summary.to_json()["classes"]["all"]
    assert page["cost_usd"] is None
    assert page["usd_per_million_tokens"] is None
    assert any("no known price" in line for line in summary.warnings)


def test_the_warm_up_counts_but_is_not_measured() -> None:
    made = made_run.make(400, rate_rps=20)
    slow = [(replace(record, first_token_ns=record.end_ns), times) for record, times in made[:100]]
    summary = summary_of([*slow, *made[100:]], warmup_s=5.0)
    everything, plain = summary.classes["all"], summary_of(made[100:]).classes["all"]
    assert everything.offered == 400
    assert everything.latency_s["ttft"].n == 300
    assert everything.latency_s["ttft"].mean == plain.latency_s["ttft"].mean
    assert summary.window.start_ns == 5_000_000_000


def test_output_tokens_count_when_they_are_emitted() -> None:
    made = made_run.make(1, chunks=10)
    record, times = made[0]
    spread = np.full(10, 1_000_000, dtype=np.int64)  # a chunk a second
    one = made_run.succeeded(0, "chat", 0, 0, spread)
    half = summary_of([(one, times.__class__("i", spread.tolist()))], duration_s=5.5).classes["all"]
    assert half.output_tokens_per_s == pytest.approx(5 / 5.5)
    assert half.completed_rps == 0
    assert record.completion_tokens == half.tokens["output"] == 10


def test_littles_law_holds_within_the_window_and_is_checked() -> None:
    made = made_run.make(600, rate_rps=20)
    summary = summary_of(made)
    counted = summary.classes["all"].mean_in_flight
    assert counted is not None
    residence_s = np.mean([(record.end_ns - (record.sent_ns or 0)) / 1e9 for record, _ in made])
    assert counted == pytest.approx(20 * residence_s, rel=0.02)
    assert summary_of(made, mean_in_flight=counted * 1.001).valid
    wrong = summary_of(made, mean_in_flight=counted * 1.05)
    assert not wrong.valid
    assert "telemetry is broken" in wrong.invalid_reasons[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"planned_requests": 205}, "5 of 205 planned requests left no record"),
        ({"missing": ("1 of 2 workers were lost: 1",)}, "workers were lost"),
        ({"cpu_ratio": 0.97}, "97% of a core"),
        ({"loop_lag_s": 0.3}, "300 ms late"),
        ({"clock_step_s": 3.6}, "clock was set by 3.6 s"),
        ({"warmup_s": 99.0}, "within its warm-up"),
    ],
)
def test_what_makes_a_run_invalid(change: dict[str, Any], said: str) -> None:
    summary = summary_of(made_run.make(200), **change)
    assert not summary.valid
    assert said in " ".join(summary.invalid_reasons)
    assert exit_code(summary) == 5


def test_a_good_run_is_valid_and_a_bad_server_does_not_make_it_invalid() -> None:
    assert summary_of(made_run.make(200)).valid
    assert summary_of(made_run.make(200, failed_share=1.0)).valid
    assert not summary_of([]).valid


def test_lag_is_held_to_the_ttft_limit() -> None:
    made = made_run.make(300)
    late = [(replace(record, sent_ns=record.intended_ns + 15_000_000), times) for record, times in made]
    assert "15.0 ms late" in summary_of(late).invalid_reasons[0]
    assert summary_of(late, "ttft p99 < 2s").valid  # 1 % of 2 s is 20 ms
    (one, times), *_ = made
    alone = [(replace(one, sent_ns=one.intended_ns + 50_000_000), times)]
    assert not summary_of(alone).valid  # of one request the largest lag is the p99


@pytest.mark.parametrize(
    ("outcome", "said"), [(Outcome.UNSENT, "never sent"), (Outcome.SHED, "refused by the load generator")]
)
def test_a_dropped_arrival_makes_it_invalid(outcome: Outcome, said: str) -> None:
    made = made_run.make(300)
    made[9] = (made_run.failed(9, "chat", made[9][0].intended_ns, None, outcome), made[9][1][:0])
    assert said in summary_of(made).invalid_reasons[0]


def test_coalesced_chunks_make_it_invalid() -> None:
    made = [(replace(record, coalesced=1), times) for record, times in made_run.make(50, chunks=20)]
    assert "shared a read" in summary_of(made).invalid_reasons[0]


@pytest.mark.parametrize(
    ("texts", "n", "verdict", "code"),
    [
        ((), 500, None, 0),
        (("ttft p99 < 2s",), 500, Verdict.PASS, 0),
        (("ttft p99 < 2s",), 100, Verdict.INCONCLUSIVE, 4),
        (("ttft p99 < 10ms", "e2e p99 < 60s"), 500, Verdict.FAIL, 3),
        (("chat: tpot p95 < 40ms",), 500, Verdict.PASS, 0),
        (("nobody: tpot p95 < 40ms",), 500, Verdict.INCONCLUSIVE, 4),
        (("interactivity p50 >= 50",), 500, Verdict.PASS, 0),
        (("interactivity p50 >= 500",), 500, Verdict.FAIL, 3),
        (("error_rate < 5%",), 500, Verdict.PASS, 0),
        (("goodput >= 15 rps",), 500, Verdict.PASS, 0),
        (("itl p95 < 50ms",), 500, Verdict.PASS, 0),
    ],
)
def test_verdicts_and_exit_codes(texts: tuple[str, ...], n: int, verdict: Verdict | None, code: int) -> None:
    summary = summary_of(made_run.make(n), *texts)
    assert summary.verdict is verdict
    assert exit_code(summary) == code


def test_the_order_of_exit_codes() -> None:
    failed = summary_of(made_run.make(500), "ttft p99 < 10ms")
    invalid = replace(failed, valid=False)
    budget = replace(invalid, stopped_by_budget=True)
    interrupted = replace(budget, interrupted=True)
    assert [exit_code(one) for one in (failed, invalid, budget, interrupted)] == [3, 5, 6, 130]
    assert exit_code(interrupted, error=True) == 1
    assert exit_code(interrupted, error=True, usage_error=True) == 2


def test_goodput_limits_decide_attainment_not_the_verdict() -> None:
    made = made_run.make(500, ttft_s=0.2)
    tight = summary_of(made, goodput=("ttft:150",)).classes["all"]
    expected = sum(record.ttft_s is not None and record.ttft_s <= 0.15 for record, _ in made) / 500
    assert tight.attainment == expected
    assert 0 < expected < 1


def test_a_run_directory_gives_the_same_summary_gathered_or_not(tmp_path: Path) -> None:
    made = made_run.make(200, failed_share=0.05)
    made_run.write(
        tmp_path,
        made,
        parts=3,
        slo=["ttft p99 < 2s"],
        scenario={"name": "made", "classes": [{"name": "chat"}]},
    )
    before = summarise_run(read_run(tmp_path)).to_json()
    gather_parts(tmp_path)
    assert summarise_run(read_run(tmp_path)).to_json() == before
    assert before["gates"][0]["slo"] == "ttft p99 < 2s"
    assert before["run"]["scenario"] == "made"


def test_a_scenarios_own_objectives_gate_nothing() -> None:
    scenario = {
        "name": "s", "slo": ["ttft p99 < 1s"], "goodput": [],
        "classes": [{"name": "chat", "slo": ["tpot p99 < 1s"]}],
    }  # fmt: skip
    found = Objectives.of({"scenario": scenario})
    assert found.gates == ()
    assert [slo.text for slo in found.slos] == ["ttft p99 < 1s", "chat: tpot p99 < 1s"]
    asked = Objectives.of({"scenario": scenario, "slo": ["e2e p50 < 9s"]})
    assert [slo.text for slo in asked.gates] == [slo.text for slo in asked.slos] == ["e2e p50 < 9s"]


def test_a_class_named_all_does_not_hide_the_total() -> None:
    summary = summary_of(made_run.make(10, classes=("all", "chat")))
    assert [one.offered for one in summary.classes.values()] == [10, 5, 5]


def test_facts_of_a_manifest() -> None:
    facts = RunFacts.of(
        {
            "mode": "open", "duration_s": 30, "warmup_s": 3, "workers": 2, "missing_workers": [1],
            "interrupted": True, "elapsed_s": 12.5,
            "shards": {"0": {"shard": 0, "disk_error": "full", "cpu_ratio": 0.5,
                             "health": {"lag_p99_us": 1500.0}}},
        }
    )  # fmt: skip
    assert (facts.duration_s, facts.warmup_s, facts.stopped_s) == (30.0, 3.0, 12.5)
    assert facts.cpu_ratio == 0.5
    assert facts.loop_lag_s == pytest.approx(0.0015)
    assert facts.missing == ("1 of 2 workers were lost: 1", "worker 0: full")


def test_records_that_a_worker_counted_and_that_are_not_here_make_it_invalid() -> None:
    """A closed loop has no plan to miss them by."""
    made = made_run.make(40)
    closed: dict[str, Any] = {"mode": "closed", "planned_requests": None}
    assert summary_of(made, recorded=40, **closed).valid
    summary = summary_of(made, recorded=43, **closed)
    assert summary.invalid_reasons == ("3 of 43 requests that the workers recorded are not on disk",)
    assert RunFacts.of({"shards": {"0": {"records": 3}, "1": {"records": 40}, "2": {}}}).recorded == 43
