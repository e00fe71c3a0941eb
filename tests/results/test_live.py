"""Live statistics: partitions merge to the same, agree with the summary, and survive the wire."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servebench.meter.record import Outcome
from servebench.results.facts import Objectives, RunFacts
from servebench.results.live import EDGES_S, LiveStats, bucket_edges
from servebench.results.slo import parse_goodput, parse_slo, parse_slos
from servebench.results.summary import summarise
from tests.results import made_run
from tests.results.records import made_runs

SLOS = parse_slos(
    ["ttft p99 < 333ms", "chat: tpot p95 < 40ms", "error_rate < 1%", "goodput >= 90%", "itl p99 < 1s"]
)
GOODPUT = parse_goodput(["ttft:777"])


def stats_of(made: made_run.Made, *, takes: int = 1) -> LiveStats:
    stats = LiveStats(SLOS, GOODPUT)
    for position, (record, times) in enumerate(made):
        stats.add(record, times, cost_ticks={"input": record.id, "tool": 1})
        if position % takes == 0:
            stats.take()
    stats.take()
    return stats


@given(made=made_runs(), workers=st.integers(1, 4), takes=st.integers(1, 5), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_any_partition_in_any_order_gives_the_same(
    made: made_run.Made, workers: int, takes: int, seed: int
) -> None:
    deltas = []
    for worker in range(workers):
        stats = LiveStats(SLOS, GOODPUT)
        for position, (record, times) in enumerate(made[worker::workers]):
            stats.add(record, times, cost_ticks={"input": record.id, "tool": 1})
            if position % takes == 0:
                deltas.append(stats.take())
        deltas.append(stats.take())
    master = LiveStats(SLOS, GOODPUT)
    for position in np.random.default_rng(seed).permutation(len(deltas)):
        master.merge(json.loads(json.dumps(deltas[position])))  # as the wire carries them
    assert master.totals() == stats_of(made).totals()
    assert master.snapshot() == stats_of(made).snapshot()


@given(made=made_runs())
@settings(deadline=None, max_examples=40)
def test_counts_conserve(made: made_run.Made) -> None:
    totals = stats_of(made).totals()
    assert sum(totals["outcomes"].values()) == len(made)
    assert set(totals["outcomes"]) == {outcome.value for outcome in Outcome}
    for metric in ("ttft", "ttfvt", "e2e"):
        assert sum(totals["histograms"][metric]["counts"]) == len(made)
    assert sum(totals["histograms"]["itl"]["counts"]) == sum(max(len(times) - 1, 0) for _, times in made)
    assert sum(totals["cost_ticks"].values()) == sum(record.id + 1 for record, _ in made)
    for counts in totals["slo"].values():
        assert 0 <= counts["good"] <= counts["offered"]


def test_live_figures_agree_with_the_summary() -> None:
    made = made_run.make(800, failed_share=0.03)
    stats = stats_of(made, takes=7)
    records = [record for record, _ in made]
    objectives = Objectives(SLOS, SLOS, GOODPUT)
    summary = summarise(
        records, made_run.chunk_times(made), facts=RunFacts(duration_s=1e6), objectives=objectives
    )
    snapshot, everything = stats.snapshot(), summary.classes["all"]
    assert snapshot["outcomes"] == everything.outcomes
    assert snapshot["tokens"] == everything.tokens
    for metric in ("ttft", "tpot", "itl", "e2e", "client_lag"):
        exact = everything.latency_s[metric]
        assert snapshot["quantiles"][metric]["n"] == exact.n
        for name in ("p50", "p95", "p99"):
            value = getattr(exact, name).value
            assert snapshot["quantiles"][metric][name] == pytest.approx(value, rel=0.0041)
    for result in summary.gates:
        counts = snapshot["slo"][result.slo.text]
        assert (counts["offered"], counts["offered"] - counts["good"]) == (result.n, result.over)
    assert everything.attainment == snapshot["counts"]["goodput_good"] / 800


def test_buckets_hold_what_prometheus_would_count() -> None:
    made = made_run.make(300, failed_share=0.05)
    histogram = stats_of(made).totals()["histograms"]["ttft"]
    values = [record.ttft_s if record.ok and record.ttft_s is not None else math.inf for record, _ in made]
    running = 0
    for edge, count in zip([*histogram["edges"], math.inf], histogram["counts"], strict=True):
        running += count
        assert running == sum(value <= edge for value in values)
    finite_ns = sum(round(value * 1e9) for value in values if math.isfinite(value))
    assert histogram["sum_ns"] == finite_ns


def test_every_limit_is_an_edge() -> None:
    assert 0.333 in bucket_edges("ttft", SLOS)
    assert 0.777 in bucket_edges("ttft", SLOS, GOODPUT)
    assert bucket_edges("ttft", [parse_slo("ttft p99 < 2500ms")]) == list(EDGES_S["ttft"])
    assert bucket_edges("e2e", SLOS) == list(EDGES_S["e2e"])
    assert EDGES_S["e2e"][0] == 0.01
    assert EDGES_S["e2e"][-1] == 327.68


def test_outcomes_are_there_before_the_first_request() -> None:
    delta = LiveStats(SLOS).take()
    assert set(delta["outcomes"].values()) == {0}
    assert set(delta["cost_ticks"]) == {"input", "cached_input", "output", "reasoning", "tool", "retry"}


def test_deltas_of_other_objectives_are_refused() -> None:
    with pytest.raises(ValueError, match="different SLOs"):
        LiveStats().merge(LiveStats(SLOS).take())
