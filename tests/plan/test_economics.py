"""Economics: rows that add up, bands around them, fleets for a demand, clusters, dead ends."""

import datetime
from decimal import Decimal

import pytest
from scipy.stats import binom

from servebench.catalog.load import load_catalog
from servebench.catalog.provenance import Kind
from servebench.errors import UsageError
from servebench.plan.bands import band
from servebench.plan.demand_text import parse_demand
from servebench.plan.economics import TierEconomics
from servebench.plan.economics_study import Question, Study, answer, study
from servebench.plan.fleet_size import Terms, fleet_for
from servebench.plan.slo_point import Lengths, cheapest_placement, curve, placed, slo_point
from servebench.plan.spares import peak_rps, spare_replicas
from servebench.workload.scenario import parse_scenario

CATALOG = load_catalog()
SMALL = """
name: small
load: {rate_rps: 4, duration_s: 10}
classes: [{name: quick, input_tokens: 1500, output_tokens: 60, reasoning_effort: none}]
"""


def question(**changes: object) -> Question:
    fields: dict[str, object] = {
        "scenario": parse_scenario(SMALL, "small"), "tier_ids": ("grok-4.3", "grok-5-large"),
        "slo_texts": ("ttft p90 < 2s", "tpot p90 < 40ms"), "terms": Terms("rental"),
        "demand": parse_demand("2M tokens/s"), "seed": 3, "probe_s": 5.0,
    }  # fmt: skip
    return Question(**(fields | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def found() -> Study:
    return study(question(), on=datetime.date(2026, 11, 25), processes=1)


@pytest.mark.parametrize("place", [0, 1])
def test_input_and_output_weigh_up_to_the_whole(found: Study, place: int) -> None:
    row = found.rows[place]
    inputs, outputs = Decimal(row.lengths.prompt_tokens), Decimal(row.lengths.output_tokens)
    whole = row.usd_input * inputs + row.usd_output * outputs
    assert float(whole / (inputs + outputs)) == pytest.approx(float(row.usd), rel=1e-6)
    assert row.usd_fresh >= row.usd_input
    assert row.usd_output > row.usd_input
    hour = row.tier.serving.gpus * row.gpu.usd_per_gpu_h["rental"]
    sold = row.tokens_per_s * row.terms.time_sold * 3600 / 1e6
    assert float(row.usd) * sold == pytest.approx(float(hour), rel=1e-6)


def test_published_prices_have_a_margin_and_break_even_prices_none(found: Study) -> None:
    published, modelled = found.rows
    assert (published.price.label, published.price.kind) == ("published", Kind.PUBLISHED)
    assert float(published.margin) == pytest.approx(1 - float(published.usd / published.price.usd_per_mtok))
    # u* is the share of the capacity that must be sold: at the share that is, the margin says the same
    sold = float(published.break_even_utilisation) / published.terms.time_sold
    assert float(published.margin) == pytest.approx(1 - sold, rel=1e-6)
    assert (modelled.price.label, modelled.price.kind) == ("break-even", Kind.MODELLED)
    assert modelled.margin == 0
    excess = modelled.price.usd_per_mtok / modelled.usd
    assert 1 <= excess < Decimal("1.002")  # rates are whole ticks, rounded up


def test_bands_hold_the_figure_and_the_curve_falls(found: Study) -> None:
    for row in found.rows:
        low, high = row.usd_range
        assert low < row.usd
        assert high is None or high > row.usd
        assert row.speed_band.low < 1 < row.speed_band.high
        costs = [row.curve_usd(point) for point in row.curve]
        assert costs == sorted(costs, reverse=True)
        assert [point.tpot_s for point in row.curve] == sorted(point.tpot_s for point in row.curve)


def test_a_fleet_for_tokens_a_second(found: Study) -> None:
    row = found.rows[0]
    assert row.fleet is not None
    tokens = row.lengths.prompt_tokens + row.lengths.output_tokens
    assert row.fleet.demand_rps == pytest.approx(2e6 / tokens, rel=1e-3)
    working = row.fleet.replicas - row.fleet.spares
    each = row.capacity_rps * 0.8
    assert working * each >= row.fleet.demand_rps * 1.6 > (working - 1) * each
    assert row.fleet.spares == spare_replicas(working, availability=0.99)
    assert row.fleet.gpus == row.fleet.replicas * 8
    assert row.fleet.megawatts == pytest.approx(row.fleet.gpus * row.gpu.all_in_kw / 1000)


def test_on_colossus_2_the_gpus_run_out_before_the_megawatts(found: Study) -> None:
    for row in found.rows:
        cases = found.cluster[row.tier.id]
        assert [case.gpu.id for case in cases] == ["h100", "b200"]
        assert {case.binds for case in cases} == {"GPUs"}
        assert [round(case.megawatts) for case in cases] == [346, 434]
        h100, b200 = (case.replica_rps / case.gpus_per_replica for case in cases)
        assert b200 > h100
        for case in cases:
            assert case.replicas * case.gpus_per_replica <= 200_000
            assert case.demand_share is not None
            assert case.demand_share < 1


@pytest.mark.parametrize("texts", [("tpot p90 < 1ms",), ("ttft p90 < 10ms", "tpot p90 < 80ms")])
def test_a_limit_nobody_meets_is_a_sentence(texts: tuple[str, ...]) -> None:
    """Also where the closed form, which knows no TTFT, finds an SLO point to begin the search at."""
    why = answer(question(slo_texts=texts), "grok-4.3")
    assert not isinstance(why, TierEconomics)
    assert why.startswith(f"grok-4.3: {texts[0][:8]} is")


def test_weights_that_fit_nowhere_have_no_placement() -> None:
    tier = CATALOG.tier("grok-5-max")
    lengths = Lengths(1_000, 100)
    h100 = CATALOG.gpu("h100")
    moved, linked = placed(tier, h100, gpus=8)
    assert slo_point(moved, linked, lengths, limit_s=0.1) is None
    assert linked == h100
    _, linked = placed(tier, h100, gpus=96)
    assert linked.nvlink_bytes_per_s == h100.scaleout_bytes_per_s
    place = cheapest_placement(tier, h100, lengths, limit_s=0.1)
    assert place is not None
    assert place.gpus >= 96
    assert cheapest_placement(tier, h100, lengths, limit_s=0.001) is None
    assert curve(moved, h100, lengths) == []


def test_a_band_says_where_there_is_no_figure_at_an_end() -> None:
    tier = CATALOG.tier("grok-4.3")
    lost = band(tier, lambda t: None if t.shape.params_active > 30e9 else 1.0)
    assert (lost.low, lost.high) == (0.0, 1.0)
    with pytest.raises(ValueError, match="no figure at its own values"):
        band(tier, lambda t: None)


@pytest.mark.parametrize(
    ("text", "value", "in_tokens"),
    [
        ("500", 500, False), ("2k rps", 2_000, False), ("0.5 req/s", 0.5, False),
        ("2M tokens/s", 2e6, True), ("1.5e6tok/s", 1.5e6, True),
    ],
)  # fmt: skip
def test_demands_are_read(text: str, value: float, in_tokens: bool) -> None:
    wanted = parse_demand(text)
    assert (wanted.value, wanted.in_tokens) == (value, in_tokens)
    assert wanted.rps(100.0) == (value / 100 if in_tokens else value)


@pytest.mark.parametrize("text", ["", "fast", "0", "-5", "5 apples", "1e999 rps"])
def test_a_demand_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no load"):
        parse_demand(text)


def test_spares_keep_enough_replicas_up() -> None:
    assert spare_replicas(1, availability=0.99) == 1  # both down once in 10,000; alone once in 100
    assert spare_replicas(5, availability=1.0) == 0
    assert spare_replicas(100, availability=0.99) > spare_replicas(10, availability=0.99)
    for replicas in (1, 7, 60, 900):
        fewest = next(k for k in range(99) if binom.cdf(k, replicas + k, 0.01) >= 0.999)
        assert spare_replicas(replicas, availability=0.99) == fewest
    assert peak_rps(100, diurnal_peak=1.23, burst=0.5) == pytest.approx(184.5)
    with pytest.raises(ValueError, match="peak"):
        peak_rps(100, diurnal_peak=0.9)
    with pytest.raises(ValueError, match="availability"):
        spare_replicas(3, availability=0)


def test_a_wide_replica_is_down_more_often() -> None:
    small, large = CATALOG.tier("grok-4.3"), CATALOG.tier("grok-5-max")
    terms = Terms("rental")
    few = fleet_for(100, 10, small, CATALOG.gpu("b300"), terms)
    many = fleet_for(100, 10, large, CATALOG.gpu("gb300"), terms)
    assert many.spares > few.spares
