"""A forecast: sums over what the workload would send, dollars by the bill's own rules, bounds that hold."""

from decimal import Decimal

import numpy as np
import pytest

from servebench.catalog.load import load_catalog
from servebench.cost.bill import Usage, bill, usd
from servebench.drive.options import build_plan
from servebench.plan.forecast import ALL, CLOSED_SAMPLE, Forecast, forecast, reasoning_bound
from servebench.workload.plan import Workload
from servebench.workload.scenario import load_scenario
from tests.workload.plans import CHAT, plan

CATALOG = load_catalog()


def of(workload: Workload, model: str = "grok-4.3") -> Forecast:
    return forecast(workload, tier=CATALOG.tier(model), sheet=CATALOG.price(model))


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
    bound = reasoning_bound(CATALOG.tier("grok-4.3"), "low")
    sheet = CATALOG.price("grok-4.3")
    worst = sum(
        bill(
            Usage(spec.prompt_tokens, 0, spec.output_tokens or 0, bound if spec.class_name == "t" else 0),
            sheet,
        ).total_ticks
        for spec in specs
    )
    assert whole.worst_usd is not None
    assert Decimal(whole.worst_usd) == usd(worst)
    assert one.classes["t"].worst_usd is not None
    assert whole.likely_usd is not None
    assert Decimal(whole.likely_usd) < Decimal(whole.worst_usd)


def test_long_prompts_are_forecast_at_the_long_price() -> None:
    one = of(
        plan({"name": "c", "input_tokens": 200_000, "output_tokens": 1, "reasoning_effort": "none"}).build()
    )
    row = one.classes[ALL]
    assert row.worst_usd is not None
    assert Decimal(row.worst_usd) == row.requests * (Decimal("0.5") + Decimal("0.000005"))


def test_a_request_without_a_limit_counts_the_models_own() -> None:
    row = of(plan({"name": "c", "input_tokens": 300}).build()).classes[ALL]
    assert row.unlimited == row.requests
    assert row.output_tokens.p50 == CATALOG.tier("grok-4.3").default_max_output_tokens


def test_the_bound_on_reasoning_is_passed_by_one_draw_in_ten_thousand() -> None:
    tier = CATALOG.tier("grok-4.3")
    draws = np.exp(np.log(150) + tier.reasoning_tokens_sigma * np.random.default_rng(1).normal(size=10**6))
    assert 40 <= np.count_nonzero(draws > reasoning_bound(tier, "low")) <= 170
    assert reasoning_bound(tier, "none") == reasoning_bound(None, "low") == 0


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
    unknown = forecast(plan(model="foo").build(), tier=None, sheet=None)
    assert unknown.classes[ALL].worst_usd is None
    assert unknown.to_json()["classes"]["all"]["prompt_tokens"]["sum"] > 0
