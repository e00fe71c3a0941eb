"""A simulated fleet's bill: every dollar of it is somebody's or idle, whatever the traffic."""

from decimal import Decimal

import pytest

from servebench.catalog.load import load_catalog
from servebench.catalog.prices import TICKS_PER_USD
from servebench.cost.allocation import fleet_bill
from servebench.plan.costing import StepCosts
from servebench.plan.demand import Demand
from servebench.plan.simulation import simulate
from servebench.workload.scenario import load_scenario

CATALOG = load_catalog()


@pytest.mark.parametrize(("scenario", "rate_rps"), [("mixed", 8), ("tools", 6)])
def test_a_fleets_dollars_to_the_cent(scenario: str, rate_rps: float) -> None:
    tier = CATALOG.tier("grok-4.3")
    gpu = CATALOG.gpu(tier.serving.gpu_id)
    traffic = Demand(load_scenario(scenario), tier, seed=3).traffic(200, rate_rps=rate_rps, cv=2.0)
    costs = StepCosts(traffic, tier=tier, gpu=gpu)
    result = simulate(traffic, tier=tier, gpu=gpu, replicas=2, seed=3, observe=costs)
    replica_s = 2 * result.end_s
    assert costs.time.total_s.sum() == pytest.approx(result.gpu_busy_share * replica_s, rel=1e-9)
    assert (costs.time.total_s > 0).all()
    usd_per_h = tier.serving.gpus * gpu.usd_per_gpu_h["rental"]
    bill = fleet_bill(costs.time, usd_per_h=usd_per_h, replica_s=replica_s)
    owed = sum((Decimal(int(t)) for t in bill.prefill_ticks + bill.decode_ticks), Decimal(bill.idle_ticks))
    fleet_usd = usd_per_h * Decimal(replica_s) / 3600
    assert abs(owed / TICKS_PER_USD - fleet_usd) < Decimal("1e-9")
    # what is computed costs: a prompt's fresh tokens against its answer's
    fresh = result.prompt_tokens - result.cached_tokens
    longest, shortest = fresh.argmax(), fresh.argmin()
    assert costs.time.prefill_s[longest] > 3 * costs.time.prefill_s[shortest]
