"""Serving cost: the printed figures of the method, DeepSeek's disclosed day, what break-even must mean."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servebench.catalog.load import load_catalog
from servebench.catalog.prices import TICKS_PER_USD, Rates
from servebench.cost.blend import Mix, blend, blend_ticks
from servebench.cost.serving import break_even_rates, break_even_utilisation, margin, usd_per_mtok

GROK_43 = Rates(12_500, 2_000, 25_000)
mixes = st.builds(Mix, in_out_ratio=st.floats(0, 500), cache_hit_share=st.floats(0, 1))
rates = st.builds(
    Rates,
    input_ticks=st.integers(1, 10**6),
    cached_ticks=st.integers(0, 10**6),
    output_ticks=st.integers(1, 10**6),
)


def test_the_published_rates_are_the_catalogs() -> None:
    assert load_catalog().price("grok-4.3").base == GROK_43


@pytest.mark.parametrize(
    ("mix", "printed"),
    [
        (Mix(5.5, 0.0), "1.44"),  # Azure chat
        (Mix(73, 0.0), "1.27"),  # Azure code
        (Mix(35, 0.37), "0.907"),  # Mooncake
        (Mix(129, 0.857), "0.367"),  # coding agents
    ],
)
def test_blends_of_grok_43_to_the_printed_digit(mix: Mix, printed: str) -> None:
    assert blend(GROK_43, mix).quantize(Decimal(printed)) == Decimal(printed)


@given(mixes, rates)
def test_a_blend_lies_between_its_rates(mix: Mix, sheet: Rates) -> None:
    every = (sheet.input_ticks, sheet.cached_ticks, sheet.output_ticks)
    slack = Decimal("1e-15") * max(every)
    assert min(every) - slack <= blend_ticks(sheet, mix) <= max(every) + slack


@given(mixes)
def test_the_shares_of_a_mix_sum_to_one(mix: Mix) -> None:
    new, cached, output = mix.shares()
    assert abs(new + cached + output - 1) < Decimal("1e-20")


class TestDeepSeeksDay:
    """24 h on H800: 608B input tokens (56.3 % cached), 168B output, 226.75 nodes of 8 at $2 per GPU-hour."""

    INPUT, CACHED, OUTPUT = 608e9, 0.563, 168e9
    PREFILL_NODES, DECODE_NODES, DAY_S = 95.5, 131.4, 86_400
    NODE_USD_PER_H = Decimal(8 * 2)

    def cost(self, nodes: float, tokens: float) -> Decimal:
        return usd_per_mtok(
            usd_per_h=self.NODE_USD_PER_H * Decimal(str(nodes)), tokens_per_s=tokens / self.DAY_S
        )

    def test_the_fleets_day(self) -> None:
        all_tokens = self.INPUT + self.OUTPUT
        total = self.cost(226.75, all_tokens) * Decimal(all_tokens) / 1_000_000
        assert total.quantize(Decimal(1)) == 87_072

    def test_per_node_speeds(self) -> None:
        assert round(self.INPUT / self.DAY_S / self.PREFILL_NODES / 1e3, 1) == 73.7
        assert round(self.OUTPUT / self.DAY_S / self.DECODE_NODES / 1e3, 1) == 14.8

    def test_what_one_gpu_decodes_at_once(self) -> None:
        """At the disclosed 20-22 tokens/s a user, the middle of which is 21."""
        per_gpu = self.OUTPUT / self.DAY_S / self.DECODE_NODES / 8
        assert round(per_gpu / 21) == 88

    def test_a_peak_over_the_mean(self) -> None:
        assert round(278 / 226.75, 2) == 1.23

    def test_per_million_of_each_pool(self) -> None:
        """Prefill and decode have nodes of their own here, so each divides its own hours only."""
        uncached = self.INPUT * (1 - self.CACHED)
        assert round(self.cost(self.DECODE_NODES, self.OUTPUT), 3) == Decimal("0.300")
        assert round(self.cost(self.PREFILL_NODES, self.INPUT), 3) == Decimal("0.060")
        assert round(self.cost(self.PREFILL_NODES, uncached), 3) == Decimal("0.138")


@given(
    mix=mixes,
    proportions=rates,
    usd_per_h=st.decimals("0.5", "500", places=2),
    utilisation=st.floats(0.05, 1),
    tokens_per_s=st.floats(100, 1e6),
)
def test_break_even_pays_for_the_hour_and_hardly_more(
    mix: Mix, proportions: Rates, usd_per_h: Decimal, utilisation: float, tokens_per_s: float
) -> None:
    found = break_even_rates(
        usd_per_h=usd_per_h,
        utilisation=utilisation,
        tokens_per_s=tokens_per_s,
        mix=mix,
        proportions=proportions,
    )
    cost = usd_per_mtok(usd_per_h=usd_per_h, tokens_per_s=tokens_per_s, utilisation=utilisation)
    cost_ticks = cost * TICKS_PER_USD / 1_000_000
    excess = blend_ticks(found, mix) - cost_ticks
    assert -cost_ticks * Decimal("1e-15") <= excess < 1


def test_break_even_keeps_grok_43s_proportions() -> None:
    found = break_even_rates(
        usd_per_h=Decimal("22.48"),
        utilisation=0.5,
        tokens_per_s=20_000,
        mix=Mix(5.5, 0.0),
        proportions=GROK_43,
    )
    assert found.output_ticks / found.input_ticks == pytest.approx(2, rel=1e-3)
    assert found.cached_ticks / found.input_ticks == pytest.approx(0.16, rel=1e-2)


def test_break_even_at_grok_43s_own_price_is_grok_43s_price() -> None:
    """A replica that earns exactly its hour at the list price breaks even at the list price."""
    mix, speed = Mix(35, 0.37), 10_000.0
    usd_per_h = blend(GROK_43, mix) * Decimal("0.0036") * Decimal(speed)
    assert (
        break_even_rates(
            usd_per_h=usd_per_h, utilisation=1.0, tokens_per_s=speed, mix=mix, proportions=GROK_43
        )
        == GROK_43
    )


@given(st.floats(0.05, 0.95), st.floats(100, 1e6), mixes)
def test_at_break_even_utilisation_the_margin_is_nothing(u: float, speed: float, mix: Mix) -> None:
    price = blend(GROK_43, mix)
    hour = price * Decimal(repr(u)) * Decimal(repr(speed)) * Decimal("0.0036")
    found = break_even_utilisation(usd_per_gpu_h=hour, blend_usd_per_mtok=price, tokens_per_s_per_gpu=speed)
    assert float(found) == pytest.approx(u)
    cost = usd_per_mtok(usd_per_h=hour, tokens_per_s=speed, utilisation=u)
    assert abs(margin(cost=cost, price=price)) < Decimal("1e-12")


@pytest.mark.parametrize("ratio", [-1, float("nan"), float("inf")])
def test_a_mix_needs_a_ratio(ratio: float) -> None:
    with pytest.raises(ValueError, match="in_out_ratio"):
        Mix(ratio, 0.5)


def test_impossible_inputs_are_refused() -> None:
    with pytest.raises(ValueError, match="cache_hit_share"):
        Mix(1, 1.1)
    with pytest.raises(ValueError, match="tokens_per_s must be above 0"):
        usd_per_mtok(usd_per_h=Decimal(1), tokens_per_s=0)
    with pytest.raises(ValueError, match="utilisation"):
        usd_per_mtok(usd_per_h=Decimal(1), tokens_per_s=1, utilisation=0)
    with pytest.raises(ValueError, match="earn nothing"):
        break_even_rates(
            usd_per_h=Decimal(1), utilisation=1, tokens_per_s=1, mix=Mix(0, 0), proportions=Rates(1, 1, 0)
        )
    with pytest.raises(ValueError, match="margin"):
        margin(cost=Decimal(1), price=Decimal(0))
