"""What `servebench tiers` computes: the speed of a tier and its weights' bytes, each with its band."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from servebench.catalog.hardware import Gpu
from servebench.catalog.provenance import Kind, Source
from servebench.catalog.tiers import OperatingPoint, ServingProfile, Tier
from servebench.catalog.variants import SERVING_FIELDS, SHAPE_FIELDS, with_value

if TYPE_CHECKING:
    from servebench.engine.step_time import StepTimeModel

# where a speed is stated for a tier that no published figure ties to a point
DEFAULT_BATCH, DEFAULT_CONTEXT_TOKENS = 32, 64_000


@dataclass(frozen=True, slots=True)
class Speed:
    """Output tokens/s of one user in a batch whose sequences all have this context."""

    point: OperatingPoint
    source: Source


def speed_of(tier: Tier, gpu: Gpu) -> Speed:
    """The published operating point, else the model's speed at 32 sequences of 64k with its band."""
    if tier.operating_point is not None:
        return Speed(tier.operating_point, tier.sources["operating_point"])
    return modelled_speed(tier, gpu, DEFAULT_BATCH, DEFAULT_CONTEXT_TOKENS)


def modelled_speed(tier: Tier, gpu: Gpu, batch: int, context_tokens: int) -> Speed:
    """What the step-time model says of a steady batch, with its band."""
    speed, low, high = with_band(tier, gpu, lambda model: model.tokens_per_s_per_user(batch, context_tokens))
    return Speed(OperatingPoint(batch, context_tokens, speed), modelled_source(tier, low, high))


def modelled_source(tier: Tier, low: float, high: float) -> Source:
    date = max(source.date for source in tier.sources.values())
    return Source(Kind.MODELLED, "servebench's step-time model", date, low, high)


def with_band(
    tier: Tier, gpu: Gpu, measure: "Callable[[StepTimeModel], float]"
) -> tuple[float, float, float]:
    """A positive figure of the tier, and its low and high: each banded number goes alone to both of its ends,
    and what raises and what lowers the figure add in squares.

    Where a number was solved from a published speed, it is solved again for each of these, as far as it stays
    believable: the speed is known, however little the rest is.
    """
    from servebench.engine.step_time import StepTimeModel

    def figure(changed: Tier) -> float:
        serving = _solved_again(changed, gpu)
        return measure(StepTimeModel(changed.shape, serving, gpu))

    value, middle = measure(StepTimeModel(tier.shape, tier.serving, gpu)), figure(tier)
    higher = lower = 0.0
    # P_ne and k follow P_act
    for name in sorted((SERVING_FIELDS | SHAPE_FIELDS) - {"params_non_expert", "experts_active"}):
        source = tier.sources.get(name)
        if source is None or name == tier.solved:
            continue
        ends = [end for end in (source.low, source.high) if end is not None]
        changes = [math.log(figure(with_value(tier, name, end)) / middle) for end in ends]
        higher += max((0.0, *changes)) ** 2
        lower += min((0.0, *changes)) ** 2
    return value, value * math.exp(-math.sqrt(lower)), value * math.exp(math.sqrt(higher))


def _solved_again(tier: Tier, gpu: Gpu) -> ServingProfile:
    from servebench.plan.calibration import LAYER_LATENCY_RANGE_S, layer_latency_s

    if tier.solved != "layer_latency_s" or tier.operating_point is None:
        return tier.serving
    low_s, high_s = LAYER_LATENCY_RANGE_S
    solved_s = layer_latency_s(tier.shape, tier.serving, gpu, tier.operating_point)
    return replace(tier.serving, layer_latency_s=min(max(solved_s, low_s), high_s))


def weights_source(tier: Tier) -> Source:
    """Weight bytes follow from the split of the parameters, and so from params_active and its band."""
    active = tier.sources["params_active"]
    ends = [
        with_value(tier, "params_active", end).shape.weight_bytes
        for end in (active.low, active.high)
        if end is not None
    ]
    kind = Kind.MODELLED if active.kind is Kind.MODELLED else Kind.DERIVED
    low, high = (min(ends), max(ends)) if len(ends) == 2 else (None, None)
    return Source(kind, "P_ne wb_ne + P_exp wb_e", active.date, low, high)
