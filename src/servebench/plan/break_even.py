"""The price at which a tier that nobody sells yet would pay for its GPUs: MODELLED, with a band.

The replica is taken at its SLO point (the largest batch within the preset `standard`) on chat as the Azure
2023 conversation trace has it, nothing cached; half of its time is sold (headroom 0.8 over a diurnal peak
of 1.6); the GPU hour is that of an owner at hyperscale, unless asked otherwise; rates keep the proportions
of Grok 4.3's. The band is params_active at its 1 sigma, nothing else: wider uncertainty (attention FLOP, KV
bytes, use) is not in it.
"""

from dataclasses import dataclass

from servebench.catalog.hardware import Gpu
from servebench.catalog.prices import Rates
from servebench.catalog.tiers import ModelShape, Tier
from servebench.catalog.variants import with_value
from servebench.cost.blend import Mix
from servebench.cost.serving import break_even_rates
from servebench.engine.step_time import StepTimeModel
from servebench.plan.steady_state import SteadyState, largest_batch

PROMPT_TOKENS = 1154.7  # means of the Azure 2023 conversation trace, 19,366 requests
OUTPUT_TOKENS = 211.1
TPOT_LIMIT_S = 0.080  # of the preset `standard`
UTILISATION = 0.5
PRICE_BASIS = "hyperscaler"


@dataclass(frozen=True, slots=True)
class BreakEven:
    """base, and the rates at the low and high end of params_active's band; at: the replica's SLO point."""

    base: Rates
    low: Rates
    high: Rates
    at: SteadyState


def break_even(tier: Tier, gpu: Gpu, *, proportions: Rates, basis: str = PRICE_BASIS) -> BreakEven:
    """What the tier must charge where a GPU hour costs what it does on that basis. Raises ValueError where
    params_active has no band, or the SLO can't be met.
    """
    band = tier.sources["params_active"]
    if band.low is None or band.high is None:
        raise ValueError(f"{tier.id}: params_active has no low and high")
    points = [
        _slo_point(tier, gpu, with_value(tier, "params_active", active).shape)
        for active in (tier.shape.params_active, band.low, band.high)
    ]
    base, low, high = (_rates(tier, gpu, point.tokens_per_s, proportions, basis) for point in points)
    return BreakEven(base, low, high, points[0])


def _slo_point(tier: Tier, gpu: Gpu, shape: ModelShape) -> SteadyState:
    return largest_batch(
        StepTimeModel(shape, tier.serving, gpu),
        tpot_limit_s=TPOT_LIMIT_S,
        prompt_tokens=PROMPT_TOKENS,
        output_tokens=OUTPUT_TOKENS,
    )


def _rates(tier: Tier, gpu: Gpu, tokens_per_s: float, proportions: Rates, basis: str) -> Rates:
    return break_even_rates(
        usd_per_h=tier.serving.gpus * gpu.usd_per_gpu_h[basis],
        utilisation=UTILISATION,
        tokens_per_s=round(tokens_per_s, 3),  # so that the last digit of a float can't turn a tick
        mix=Mix(in_out_ratio=round(PROMPT_TOKENS / OUTPUT_TOKENS, 2), cache_hit_share=0.0),
        proportions=proportions,
    )
