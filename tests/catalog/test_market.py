"""Our Grok prices against genai-prices, a package of somebody else: equal sheets, and equal bills."""

import datetime
from decimal import Decimal
from typing import Any

import pytest
from genai_prices import Usage as MarketUsage
from genai_prices import calc_price, data_snapshot
from hypothesis import given
from hypothesis import strategies as st

from servebench.catalog.load import load_catalog
from servebench.catalog.market import list_price, market_version, of_sheet
from servebench.cost.bill import Usage, bill
from servebench.errors import UsageError

TODAY = datetime.date(2026, 11, 24)
SHARED = (
    "grok-4.7",
    "grok-4.6",
    "grok-4.5",
    "grok-4.3",
    "grok-4.20-0309-reasoning",
    "grok-4.20-0309-non-reasoning",
    "grok-4.20-multi-agent-0309",
    "grok-build-0.1",
    "grok-3-mini",
)
BATCH = ("grok-4.3", "grok-4.20-0309-reasoning", "grok-4.20-multi-agent-0309")


def theirs(usage: Usage, model: str, on: datetime.date, **context: Any) -> Decimal:
    """genai-prices counts reasoning within output, and has no tool fees and no xAI priority."""
    counts = MarketUsage(
        input_tokens=usage.prompt_tokens,
        cache_read_tokens=usage.cached_tokens,
        output_tokens=usage.completion_tokens + usage.reasoning_tokens,
    )
    noon = datetime.datetime(on.year, on.month, on.day, 12, tzinfo=datetime.UTC)
    return calc_price(counts, model, provider_id="x-ai", genai_request_timestamp=noon, **context).total_price


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    near = st.integers(199_990, 200_010)
    prompt = draw(st.one_of(st.integers(0, 1_000_000), near))
    output = st.integers(0, 128_000)
    return Usage(prompt, draw(st.integers(0, prompt)), draw(output), draw(output))


@given(usages(), st.sampled_from(SHARED))
def test_our_bill_is_theirs(usage: Usage, model: str) -> None:
    assert bill(usage, load_catalog().price(model, TODAY)).usd == theirs(usage, model, TODAY)


@given(usages(), st.sampled_from(BATCH))
def test_our_batch_bill_is_theirs(usage: Usage, model: str) -> None:
    ours = bill(usage, load_catalog().price(model, TODAY), batch=True)
    assert ours.usd == theirs(usage, model, TODAY, price_context={"processing": "batch"})


@given(usages(), st.dates(datetime.date(2026, 3, 9), TODAY))
def test_the_price_history_of_420_is_theirs(usage: Usage, on: datetime.date) -> None:
    model = "grok-4.20-0309-reasoning"
    assert bill(usage, load_catalog().price(model, on)).usd == theirs(usage, model, on)


@pytest.mark.parametrize("model", SHARED)
def test_sheets_and_thresholds_are_theirs(model: str) -> None:
    """Theirs holds above its start, ours at its threshold: 199,999 exclusive is 200,000 inclusive."""
    assert of_sheet(load_catalog().price(model)) == list_price("x-ai", model, on=TODAY)


def test_every_grok_price_of_ours_is_checked_here() -> None:
    """Those that are MODELLED have nobody to be checked against."""
    published = {model for model, sheets in load_catalog().prices.items() if sheets[-1].low is None}
    assert published == set(SHARED)


def test_every_reference_with_a_price_is_listed_there() -> None:
    for reference in load_catalog().references.values():
        if reference.genai_id is None:
            assert reference.params_total_low is not None, reference.id
            continue
        price = list_price(*reference.genai_id, on=TODAY)
        assert 0 < price.input_usd <= price.output_usd
        assert price.cached_usd is None or price.cached_usd < price.input_usd
        assert (price.above_tokens is None) == (price.long_input_usd is None)


def test_the_competitors_prices_as_their_makers_print_them() -> None:
    gpt = list_price("openai", "gpt-5.5", on=TODAY)
    assert (gpt.input_usd, gpt.cached_usd, gpt.output_usd) == (Decimal(5), Decimal("0.5"), Decimal(30))
    assert (gpt.long_input_usd, gpt.long_output_usd, gpt.above_tokens) == (Decimal(10), Decimal(45), 272_000)
    opus = list_price("anthropic", "claude-opus-4-7", on=TODAY)
    assert (opus.input_usd, opus.output_usd, opus.long_input_usd) == (Decimal(5), Decimal(25), None)
    gemini = list_price("google", "gemini-2.5-pro", on=TODAY)
    assert (gemini.input_usd, gemini.output_usd, gemini.above_tokens) == (
        Decimal("1.25"),
        Decimal(10),
        200_000,
    )


def test_unlisted_models_are_one_sentence() -> None:
    with pytest.raises(UsageError, match="genai-prices lists no price of openai/gpt-9"):
        list_price("openai", "gpt-9", on=TODAY)
    with pytest.raises(UsageError, match="genai-prices lists no price of nobody/x"):
        list_price("nobody", "x", on=TODAY)


def test_the_data_is_the_packages_own_and_dated() -> None:
    version = market_version(on=TODAY)
    assert not data_snapshot.get_snapshot().from_auto_update
    assert version.newest_change is not None
    assert "2026-10-01" < version.newest_change <= TODAY.isoformat()
    assert str(market_version(on=datetime.date(2020, 1, 1))).endswith("(no dated price by then)")
    assert str(version).startswith("genai-prices 0.2.")
