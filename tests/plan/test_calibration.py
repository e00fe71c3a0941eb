"""The published 100 tokens/s of Grok 4.3: the stored latency per layer is what the formula solves, and a
replica run with it shows the speed."""

from dataclasses import replace

import pytest

from servebench.catalog.load import load_catalog
from servebench.catalog.provenance import Kind
from servebench.catalog.tiers import OperatingPoint
from servebench.engine.replica import Replica
from servebench.engine.sequence import Sequence
from servebench.engine.step_time import StepTimeModel
from servebench.plan.calibration import CalibrationError, solve_layer_latency


def test_the_stored_latency_is_the_solved_one() -> None:
    catalog = load_catalog()
    tier = catalog.tier("grok-4.3")
    assert tier.operating_point is not None
    solved_s = solve_layer_latency(
        tier.shape, tier.serving, catalog.gpu(tier.serving.gpu_id), tier.operating_point
    )
    assert tier.solved == "layer_latency_s"
    assert tier.sources["layer_latency_s"].kind is Kind.DERIVED
    assert tier.serving.layer_latency_s == pytest.approx(round(solved_s, 9), rel=1e-12)


def test_a_replica_at_the_operating_point_runs_at_100_tokens_per_s() -> None:
    catalog = load_catalog()
    tier = catalog.tier("grok-4.3")
    replica = Replica(tier, catalog.gpu(tier.serving.gpu_id), seed=7)
    for i in range(32):  # contexts pass 64k in the middle of 2,000 tokens
        replica.submit(Sequence(i, 0.0, 63_000, 2_000))
    now_s, tokens, started_s, ended_s = 0.0, 0, 0.0, 0.0
    while (start_s := replica.next_start_s(now_s)) is not None:
        step = replica.start_step(start_s)
        assert step is not None
        replica.finish_step(step)
        now_s = step.end_s
        if step.batch.decoding == 32 and not step.batch.chunks:
            started_s = started_s or step.start_s
            tokens, ended_s = tokens + 1, step.end_s
    assert tokens > 1_500
    assert tokens / (ended_s - started_s) == pytest.approx(100, rel=0.015)


def test_an_unbelievable_speed_is_refused() -> None:
    catalog = load_catalog()
    tier = catalog.tier("grok-4.3")
    gpu = catalog.gpu(tier.serving.gpu_id)
    for tokens_per_s in (20.0, 220.0):
        point = OperatingPoint(batch=32, context_tokens=64_000, tokens_per_s=tokens_per_s)
        with pytest.raises(CalibrationError, match="us per layer"):
            solve_layer_latency(tier.shape, tier.serving, gpu, point)


def test_drafts_are_solved_with_their_launches() -> None:
    catalog = load_catalog()
    tier = catalog.tier("grok-4.3")
    gpu = catalog.gpu(tier.serving.gpu_id)
    assert tier.operating_point is not None
    drafting = replace(tier.serving, draft_tokens=3, accepted_tokens=1.5)
    solved_s = solve_layer_latency(tier.shape, drafting, gpu, tier.operating_point)
    model = StepTimeModel(tier.shape, replace(drafting, layer_latency_s=solved_s), gpu)
    assert model.tokens_per_s_per_user(32, 64_000) == pytest.approx(100, rel=1e-9)
