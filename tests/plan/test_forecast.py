"""A forecast: sums over what the workload would send, dollars by the bill's own rules, bounds that hold."""

import json
from decimal import Decimal

import numpy as np
import pytest

from servebench.catalog.load import load_catalog
from servebench.cost.bill import Usage, bill, usd
from servebench.cost.bound import Bounds, bound_terms
from servebench.drive.options import build_plan
from servebench.plan.forecast import ALL, CLOSED_SAMPLE, Counts, Forecast, forecast
from servebench.workload.plan import Workload
from servebench.workload.scenario import load_scenario
from servebench.workload.traces import parse_trace
from tests.workload.plans import CHAT, plan

CATALOG = load_catalog()


def bounds_of(max_reasoning_tokens: int | None = None) -> Bounds:
    terms = bound_terms(
        CATALOG.tier("grok-4.3"), bytes_per_token=4.0, preamble_tokens=192,
        max_reasoning_tokens=max_reasoning_tokens,
    )  # fmt: skip
    return Bounds(CATALOG.price("grok-4.3"), terms)


def of(workload: Workload, *, bounds: Bounds | None = None, retries: int = 0) -> Forecast:
    return forecast(workload, tier=CATALOG.tier("grok-4.3"), bounds=bounds or bounds_of(), retries=retries)


def test_sums_are_those_of_the_requests() -> None:
    tools = {
        "name": "t", "input_tokens": 3000, "output_tokens": 50,
        "tools": ["run_sql"], "reasoning_effort": "low",
    }  # fmt: skip
    chat = {**CHAT, "output_tokens": {"dist": "uniform", "min": 5, "max": 90}, "reasoning_effort": "none"}
    workload = plan(chat, tools).build()
    one = of(workload)
    specs = [workload.spec(id) for id in range(len(workload.intended_ns))]
    whole = one.classes[ALL]
    assert (
        whole.requests == whole.arrivals == len(specs) == sum(one.classes[n].requests for n in ("chat", "t"))
    )
    assert whole.prompt_tokens.sum == sum(spec.prompt_tokens for spec in specs)
    assert whole.output_tokens.sum == sum(spec.output_tokens or 0 for spec in specs)
    assert whole.prompt_tokens.max == max(spec.prompt_tokens for spec in specs)
    assert whole.body_bytes.sum == sum(len(workload.body(spec.id)) for spec in specs)
    assert sum(rps for _, _, rps, _ in one.rate_bins) / len(one.rate_bins) == pytest.approx(one.mean_rps)
    bounds = bounds_of()
    worst = sum(
        bounds.of(
            prompt_tokens=spec.prompt_tokens,
            output_tokens=spec.output_tokens,
            effort=spec.reasoning_effort,
            tools=bool(spec.tool_names),
        ).ticks
        for spec in specs
    )
    assert whole.worst_usd is not None
    assert Decimal(whole.worst_usd) == usd(worst)
    assert whole.likely_usd is not None
    assert Decimal(whole.likely_usd) < Decimal(whole.worst_usd)


def test_likely_dollars_are_the_bill_with_the_ideal_cache() -> None:
    one = {"name": "c", "input_tokens": 200_000, "output_tokens": 1, "reasoning_effort": "none"}
    row = of(plan(one).build()).classes[ALL]
    sheet = CATALOG.price("grok-4.3")
    first = bill(Usage(200_000, 0, 1, 0), sheet).total_ticks
    later = bill(Usage(200_000, 192, 1, 0), sheet).total_ticks
    assert row.likely_usd is not None
    assert Decimal(row.likely_usd) == usd(first + (row.requests - 1) * later), "at the long price"


def test_what_the_user_states_bounds_reasoning_and_retries_multiply() -> None:
    thinking = plan(
        {"name": "c", "input_tokens": 900, "output_tokens": 9, "reasoning_effort": "high"}
    ).build()
    low, high = of(thinking, bounds=bounds_of(1000)), of(thinking)
    assert low.reasoning_bound_tokens == {"c": 1000}
    assert low.bound_source == "stated: --max-reasoning-tokens"
    assert Decimal(low.classes[ALL].worst_usd or 0) < Decimal(high.classes[ALL].worst_usd or 0)
    twice = of(thinking, retries=1)
    assert Decimal(twice.classes[ALL].worst_usd or 0) == 2 * Decimal(high.classes[ALL].worst_usd or 0)


def test_a_request_without_a_limit_counts_the_models_own() -> None:
    row = of(plan({"name": "c", "input_tokens": 300}).build()).classes[ALL]
    assert row.unlimited == row.requests
    assert row.output_tokens.p50 == CATALOG.tier("grok-4.3").default_max_output_tokens


def test_a_trace_is_told_by_its_own_moments() -> None:
    """Eleven prompts a second apart, then one: by hand, in blocks of 512 tokens."""
    head = {"output_length": 40, "hash_ids": [1, 2]}
    rows = [{"timestamp": 1000 * k, "input_length": 1024, **head} for k in range(10)]
    rows += [{"timestamp": 10_000, "input_length": 100, "output_length": 7, "hash_ids": [9]}]
    rows += [{"timestamp": 20_500, "input_length": 700, "output_length": 7, "hash_ids": [1, 3]}]
    trace = parse_trace("\n".join(map(json.dumps, rows)), name="t.jsonl")
    one = of(plan(trace=trace.arrays()).build())
    assert one.mean_rps == pytest.approx(12 / (20.5 + 20.5 / 11))
    gaps = [1.0] * 10 + [10.5]
    assert one.gap_cv == pytest.approx(float(np.std(gaps) / np.mean(gaps)))
    counts = np.array([1] * 11 + [0] * 9 + [1, 0])  # the whole seconds of 22.4
    (_, second), *longer = one.dispersion
    assert second == pytest.approx(float(counts.var() / counts.mean()))
    assert longer == [(10.0, None), (60.0, None)], "fewer than ten windows"
    assert one.trace is not None
    assert one.trace.input_tokens == Counts(p50=1024, p90=1024, p99=1024, max=1024, sum=11_040)
    assert one.trace.output_tokens == Counts(p50=40, p90=40, p99=40, max=40, sum=414)
    # nine prompts whole, and the first block of the last
    assert one.trace.cache_share == pytest.approx((9 * 1024 + 512) / 11_040)
    assert one.classes[ALL].prompt_tokens.sum > 11_040, "the prompt of 100 was raised to the preamble"
    told = one.to_json()
    assert told["trace"]["block_tokens"] == 512
    assert told["dispersion"][1] == {"window_s": 10.0, "index": None}
    assert of(plan().build()).trace is None


def test_sessions_count_their_calls_and_closed_loops_a_sample() -> None:
    agents = of(build_plan(load_scenario("agent_tools"), model=None, seed=1, duration_s=100).build()).classes[
        ALL
    ]
    assert agents.requests > 5 * agents.arrivals
    assert agents.cache_share > 0.9
    closed = of(plan(users=3).build())
    assert closed.classes[ALL].requests == CLOSED_SAMPLE
    assert closed.mean_rps is None
    assert closed.rate_bins == ()
    unknown = forecast(plan(model="foo").build(), tier=None, bounds=None)
    assert unknown.classes[ALL].worst_usd is None
    assert unknown.to_json()["classes"]["all"]["prompt_tokens"]["sum"] > 0
