"""The directions in which the step time must move, and what its parts come to, whatever is asked."""

import functools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servebench.engine.step_costs import StepCosts
from servebench.engine.step_time import StepTimeModel, bent, decode_s, lesser, prefill_s, step_parts, step_s
from tests.engine.step_models import TIER_IDS, costs_of, deployments, model_of

tiers = st.sampled_from(TIER_IDS)
batches = st.integers(1, 256)
contexts = st.integers(1, 1_000_000)
prefills = st.integers(0, 16_384)


@settings(deadline=None)
@given(tokens=st.floats(1, 1e6))
def test_experts_touched_are_at_most_all(tokens: float) -> None:
    model = model_of("grok-5-large")
    touched = model.experts_touched(tokens)
    assert model.serving.routing_spread * model.shape.experts_active * 0.99 <= touched
    assert touched <= model.shape.experts


@settings(deadline=None)
@given(tier_id=tiers, batch=batches, context=contexts, prefill=prefills, more=st.integers(1, 500))
def test_more_work_is_never_faster(tier_id: str, batch: int, context: int, prefill: int, more: int) -> None:
    model = model_of(tier_id)

    def total_s(batch: int, contexts: int, prefill: int, pairs: float) -> float:
        return model.step(batch, contexts, prefill_tokens=prefill, prefill_pairs=pairs).total_s

    pairs = prefill * 100.0
    base_s = total_s(batch, batch * context, prefill, pairs)
    least_s = base_s * (1 - 1e-12)
    assert total_s(batch + more, batch * context, prefill, pairs) >= least_s
    assert total_s(batch, batch * context + more * 1_000, prefill, pairs) > base_s
    assert total_s(batch, batch * context, prefill + more, pairs) >= least_s
    assert total_s(batch, batch * context, prefill, pairs + more) >= least_s


@settings(deadline=None)
@given(
    tier_id=tiers,
    batch=batches,
    context=contexts,
    prefill=prefills,
    faster=st.floats(1, 4),
    field=st.sampled_from(["hbm_bytes_per_s", "flops_bf16", "flops_fp8", "flops_fp4", "nvlink_bytes_per_s"]),
)
def test_a_faster_chip_is_never_slower(
    tier_id: str, batch: int, context: int, prefill: int, faster: float, field: str
) -> None:
    model = model_of(tier_id)
    change: dict[str, float] = {field: getattr(model.gpu, field) * faster}
    better = StepTimeModel(model.shape, model.serving, replace(model.gpu, **change))  # type: ignore[arg-type]
    load = {"prefill_tokens": prefill, "prefill_pairs": prefill * 500}
    before_s = model.step(batch, batch * context, **load).total_s
    assert better.step(batch, batch * context, **load).total_s <= before_s * (1 + 1e-12)


@settings(deadline=None)
@given(tier_id=tiers, batch=st.integers(0, 256), context=contexts, prefill=prefills)
def test_parts_add_up_and_overlap_hides_no_more_than_the_shorter(
    tier_id: str, batch: int, context: int, prefill: int
) -> None:
    model = model_of(tier_id)
    parts = model.step(batch, batch * context, prefill_tokens=prefill, prefill_pairs=prefill * 1_000)
    assert parts.total_s == pytest.approx(math.fsum(parts), rel=1e-12)
    decode, prefills_s = sum(parts[:4]) + parts.draft_s, sum(parts[4:8])
    assert -min(decode, prefills_s) * (1 + 1e-9) <= parts.overlap_s <= 0
    assert min(parts._replace(overlap_s=0.0)) >= 0


@functools.cache
def every_kind_of_costs() -> list[StepCosts]:
    drafting = model_of("grok-4.3", draft_tokens=3, accepted_tokens=2.0)
    found = [model_of(tier_id).costs for tier_id in TIER_IDS] + [drafting.costs]
    return found + [costs_of([deployment]).take(0).scalars() for deployment in deployments()[::7]]


@settings(deadline=None)
@given(
    batch=st.integers(0, 2_000), context=contexts, prefill=st.integers(0, 100_000), position=st.floats(0, 1e6)
)
def test_floats_and_arrays_take_the_same_formula(
    batch: int, context: int, prefill: int, position: float
) -> None:
    found = every_kind_of_costs()
    together = StepCosts(*(np.array(column) for column in zip(*found, strict=True)))
    ones = np.ones(len(found))
    decode = np.where(ones * batch > 0, decode_s(together, ones * batch, ones * float(batch) * context), 0.0)
    prefill_took = prefill_s(together, ones * prefill, ones * prefill * position, ones)
    totals = step_s(together, decode, prefill_took)
    for costs, total_s in zip(found, totals, strict=True):
        alone = step_parts(costs, batch, batch * context, prefill, prefill * position).total_s
        assert alone == pytest.approx(float(total_s), rel=1e-12)


@settings(deadline=None)
@given(a=st.floats(1e-12, 1e3), b=st.floats(1e-12, 1e3))
def test_a_bent_maximum_lies_just_above_the_maximum(a: float, b: float) -> None:
    assert max(a, b) * (1 - 1e-12) <= bent(a, b) <= max(a, b) * 2**0.25 * (1 + 1e-12)
    assert lesser(a, b) == pytest.approx(min(a, b), rel=1e-9, abs=1e-12)
