"""The plan of a fleet: what it promises is what was simulated, and more load, tighter limits and dearer GPUs
never make it smaller or cheaper.
"""

from dataclasses import replace
from decimal import Decimal

import pytest

from servebench.catalog.load import load_catalog
from servebench.plan.capacity import LOAD_SHARE, Planner
from servebench.plan.fleet_plan import Load, plan_fleet
from servebench.results.gate import Verdict
from servebench.results.slo import parse_slos
from servebench.workload.scenario import load_scenario, parse_scenario

CATALOG = load_catalog()
TIER = CATALOG.tier("grok-4.3")
GPU = CATALOG.gpu(TIER.serving.gpu_id)
SMALL = parse_scenario(
    """
name: small
load: {rate_rps: 4, duration_s: 10}
classes:
  - {name: quick, weight: 3, input_tokens: 12000, output_tokens: 12, reasoning_effort: none}
  - {name: slow, weight: 1, input_tokens: 20000, output_tokens: 40, reasoning_effort: none}
""",
    "small",
)


def planner(*texts: str) -> Planner:
    return Planner(SMALL, tier=TIER, gpu=GPU, slos=parse_slos(texts), seed=1, probe_s=40.0)


def test_the_fleet_itself_has_the_headroom() -> None:
    """One replica alone passes at 26.8 requests/s, each of three at no more than 26.6."""
    chat = Planner(
        load_scenario("chat"), tier=TIER, gpu=GPU, slos=parse_slos(["standard"]), seed=1, probe_s=60.0
    )
    capacity = chat.replica_capacity(cv=1.0)
    found = plan_fleet(chat, Load(3 * LOAD_SHARE * capacity.rps), arrival_cv=1.0)
    assert found.headroom
    for seed in (1, 2, 3):
        probe = chat.fleet(found.rate_rps / LOAD_SHARE, replicas=found.working, cv=1.0, seed=seed)
        assert probe.verdict is not Verdict.FAIL


def test_a_higher_rate_never_needs_fewer_replicas() -> None:
    one = planner("ttft p95 < 1s")
    replicas = [plan_fleet(one, Load(rate), arrival_cv=1.0).working for rate in (1, 4, 9, 20, 45)]
    assert replicas == sorted(replicas)
    assert replicas[0] < replicas[-1]


def test_a_tighter_limit_never_needs_fewer_replicas() -> None:
    replicas = [
        plan_fleet(planner(f"ttft p95 < {limit}ms"), Load(20), arrival_cv=1.0).working
        for limit in (3000, 1200, 700, 450)
    ]
    assert replicas == sorted(replicas)
    assert replicas[0] < replicas[-1]


def test_more_replicas_are_never_judged_worse() -> None:
    one = planner("ttft p95 < 1s")
    order = [Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS]
    verdicts = [order.index(one.probe(25, replicas=n, cv=2.0).verdict) for n in range(1, 8)]
    assert verdicts == sorted(verdicts)
    assert (verdicts[0], verdicts[-1]) == (0, 2)


@pytest.mark.parametrize("dearer", ["1.1", "3"])
def test_dollars_follow_the_price_of_the_gpu_and_nothing_else_does(dearer: str) -> None:
    found = plan_fleet(planner("ttft p95 < 1s"), Load(9), arrival_cv=1.0)
    prices = {basis: usd * Decimal(dearer) for basis, usd in GPU.usd_per_gpu_h.items()}
    same = replace(found, planner=Planner(SMALL, tier=TIER, gpu=replace(GPU, usd_per_gpu_h=prices),
                                          slos=found.planner.slos, seed=1, probe_s=40.0))  # fmt: skip
    assert {b: usd * Decimal(dearer) for b, usd in found.usd_per_h.items()} == same.usd_per_h
    assert same.megawatts == found.megawatts
