"""What `plan --verify` measures: a share that one machine carries, long enough for a verdict; its words."""

from pathlib import Path

import pytest

from servebench.catalog.load import load_catalog
from servebench.cli.plan_verify import Share, Verification, _lines, share_of
from servebench.plan.capacity import Planner, ReplicaCapacity
from servebench.plan.fleet_plan import FleetPlan, Load
from servebench.plan.replay_errors import Errors
from servebench.results.gate import Verdict
from servebench.results.slo import parse_slos
from servebench.workload.scenario import load_scenario

CATALOG = load_catalog()


def planned(name: str, rate_rps: float, working: int, *texts: str) -> FleetPlan:
    tier = CATALOG.tier("grok-4.3")
    gpu = CATALOG.gpu(tier.serving.gpu_id)
    planner = Planner(load_scenario(name), tier=tier, gpu=gpu, slos=parse_slos(texts or ("standard",)))
    capacity = ReplicaCapacity(rate_rps / working, None, 2.0, None)
    load = Load(rate_rps)
    return FleetPlan(planner, load, 2.0, Verdict.PASS, "", capacity, working, None, None, spares=2)


def test_all_of_a_small_fleet_and_a_share_of_a_large_one() -> None:
    small = share_of(planned("chat", 50, 3))
    assert (small.replicas, small.rate_rps, small.duration_s, small.warnings) == (3, 50, 60, ())
    large = share_of(planned("chat", 5_000, 300))
    assert large.replicas == 3  # 60 calls/s of 5,000
    assert large.rate_rps == pytest.approx(50)


def test_long_answers_count_by_their_tokens() -> None:
    plan = planned("reasoning", 50, 10, "ttft p90 < 2s")
    tokens_per_s = 50 * plan.planner.demand().means().output_tokens
    share = share_of(plan)
    assert share.replicas == int(10 * 15_000 / tokens_per_s) < 10
    one = share_of(planned("reasoning", 50, 1, "ttft p90 < 2s"))
    assert (one.replicas, one.rate_rps) == (1, 50)
    assert "the run may end INVALID" in one.warnings[0]


def test_a_low_rate_takes_longer_and_says_where_that_is_not_enough() -> None:
    assert share_of(planned("chat", 10, 1)).duration_s == 74  # 662 after a tenth of warm-up
    slow = share_of(planned("chat", 2, 1))
    assert slow.duration_s == 120
    assert "it may be INCONCLUSIVE" in slow.warnings[0]
    sessions = share_of(planned("agent_tools", 0.2, 1, "ttft p90 < 2s"))
    assert any("the fleet does not fill" in warning for warning in sessions.warnings)


def test_what_is_said_after_the_run() -> None:
    share = Share(1, 10.0, 60.0, ())
    beside = Errors(0.02, {0.5: -0.012, 0.95: 0.03}, 500)
    valid = Verification(share, 0, Path("runs/a"), beside, beside)
    figures = "TTFT p50 -1.2%, p95 +3.0%; TPOT p50 -1.2%, p95 +3.0%"
    assert _lines(valid) == [f"the same requests simulated, over what was measured: {figures}"]
    invalid = Verification(share, 5, Path("runs/a"), None, None)
    assert "says nothing of the plan" in _lines(invalid)[0]
    answer = valid.to_json()
    assert answer["simulated_over_measured"]["ttft"] == {"p50": -0.012, "p95": 0.03}
    assert invalid.to_json()["simulated_over_measured"] == {"ttft": None, "tpot": None}
