"""Grok 5's prices are what the model says today, integer by integer; and they do pay for the hour."""

from decimal import Decimal

import pytest

from servebench.catalog.load import load_catalog
from servebench.catalog.prices import TICKS_PER_USD
from servebench.catalog.provenance import Kind
from servebench.plan.break_even import OUTPUT_TOKENS, PRICE_BASIS, PROMPT_TOKENS, UTILISATION, break_even

GROK_5 = ("grok-5-small", "grok-5-mid", "grok-5-large", "grok-5-max")


@pytest.mark.parametrize("tier_id", GROK_5)
def test_the_stored_prices_are_the_computed_ones(tier_id: str) -> None:
    catalog = load_catalog()
    tier, sheet = catalog.tier(tier_id), catalog.price(tier_id)
    computed = break_even(tier, catalog.gpu(tier.serving.gpu_id), proportions=catalog.price("grok-4.3").base)
    assert (sheet.base, sheet.low, sheet.high) == (computed.base, computed.low, computed.high)
    assert sheet.source.kind is Kind.MODELLED
    assert computed.low.output_ticks < computed.base.output_ticks < computed.high.output_ticks
    assert len(catalog.prices[tier_id]) == 1


@pytest.mark.parametrize("tier_id", GROK_5)
def test_half_an_hour_sold_at_these_prices_pays_for_the_hour(tier_id: str) -> None:
    catalog = load_catalog()
    tier, sheet = catalog.tier(tier_id), catalog.price(tier_id)
    gpu = catalog.gpu(tier.serving.gpu_id)
    point = break_even(tier, gpu, proportions=catalog.price("grok-4.3").base).at
    requests = point.requests_per_s * 3600 * UTILISATION
    ticks = requests * (PROMPT_TOKENS * sheet.base.input_ticks + OUTPUT_TOKENS * sheet.base.output_ticks)
    cost = float(tier.serving.gpus * gpu.usd_per_gpu_h[PRICE_BASIS])
    assert ticks / TICKS_PER_USD == pytest.approx(cost, rel=2e-3)  # whole ticks, and r to two digits
    assert Decimal(ticks / TICKS_PER_USD) >= Decimal(cost) * Decimal("0.999")
