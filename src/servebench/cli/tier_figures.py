"""What `servebench tiers` computes: the speed of a tier and its weights' bytes, each with its band."""

import math
from dataclasses import dataclass

from servebench.catalog.hardware import Gpu
from servebench.catalog.provenance import Kind, Source
from servebench.catalog.tiers import OperatingPoint, Tier
from servebench.catalog.variants import SERVING_FIELDS, SHAPE_FIELDS, with_value

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
    speed = _modelled_speed(tier, gpu)
    low, high = _band(tier, gpu, speed)
    point = OperatingPoint(DEFAULT_BATCH, DEFAULT_CONTEXT_TOKENS, speed)
    date = max(source.date for source in tier.sources.values())
    return Speed(point, Source(Kind.MODELLED, "servebench's step-time model", date, low, high))


def _modelled_speed(tier: Tier, gpu: Gpu) -> float:
    from servebench.engine.step_time import StepTimeModel

    model = StepTimeModel(tier.shape, tier.serving, gpu)
    return model.tokens_per_s_per_user(DEFAULT_BATCH, DEFAULT_CONTEXT_TOKENS)


def _band(tier: Tier, gpu: Gpu, speed: float) -> tuple[float, float]:
    """Each banded number goes alone to both of its ends; the faster and the slower effects add in squares."""
    faster = slower = 0.0
    # P_ne and k follow P_act
    for name in sorted((SERVING_FIELDS | SHAPE_FIELDS) - {"params_non_expert", "experts_active"}):
        source = tier.sources.get(name)
        ends = () if source is None else (source.low, source.high)
        changes = [
            math.log(_modelled_speed(with_value(tier, name, end), gpu) / speed)
            for end in ends
            if end is not None
        ]
        faster += max((0.0, *changes)) ** 2
        slower += min((0.0, *changes)) ** 2
    return speed * math.exp(-math.sqrt(slower)), speed * math.exp(math.sqrt(faster))


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
