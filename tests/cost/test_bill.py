"""Bills: the recorded ones to the tick, and the laws that every bill keeps."""

import datetime
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servebench.catalog.load import load_catalog
from servebench.catalog.prices import PriceSheet
from servebench.cost.bill import Bill, BillError, Usage, bill, usd_text

# what xAI billed: (model, day, prompt, cached, output incl. reasoning, tool calls, service tier, ticks)
RECORDED = {
    "4.3-chat": ("grok-4.3", "2026-07-28", 197, 192, 147, {}, "default", 4_121_500),
    "4.3-responses": ("grok-4.3", "2026-07-28", 197, 192, 199, {}, "default", 5_421_500),
    "4.3-pdf": ("grok-4.3", "2026-07-28", 36361, 192, 1252, {}, None, 483_796_500),
    "4.3-x-search": ("grok-4.3", "2026-07-28", 21365, 10496, 3646, {"x_search": 8}, None, 648_004_500),
    "4.6-web-search": ("grok-4.6", "2026-09-29", 5467, 1152, 593, {"web_search": 1}, None, 177_640_000),
    "4.6-priority": ("grok-4.6", "2026-09-29", 1528, 0, 182, {}, "priority", 82_960_000),
    "4.5-minimal": ("grok-4.5", "2026-07-10", 208, 128, 42, {}, "default", 4_760_000),
    "4.5-cold": ("grok-4.5", "2026-07-10", 1234, 128, 326, {}, "default", 42_320_000),
    "4.5-warm": ("grok-4.5", "2026-07-10", 1234, 1152, 297, {}, "default", 25_220_000),
    "4.5-no-key": ("grok-4.5", "2026-07-10", 1234, 128, 274, {}, "default", 39_200_000),
    "3-mini-text": ("grok-3-mini", "2026-02-11", 12, 11, 291, {}, None, 1_466_250),
    "3-mini-tool-stream": ("grok-3-mini", "2026-02-11", 291, 290, 222, {}, None, 1_330_500),
    "3-mini-tool": ("grok-3-mini", "2026-02-11", 291, 244, 215, {}, None, 1_399_000),
}

counts = st.integers(0, 1_000_000)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    prompt = draw(counts)
    return Usage(
        prompt_tokens=prompt,
        cached_tokens=draw(st.integers(0, prompt)),
        completion_tokens=draw(counts),
        reasoning_tokens=draw(counts),
        tool_calls={"web_search": draw(st.integers(0, 20))},
        service_tier=draw(st.sampled_from([None, "default", "priority"])),
    )


def sheet(model: str = "grok-4.3", day: str | None = None) -> PriceSheet:
    return load_catalog().price(model, None if day is None else datetime.date.fromisoformat(day))


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_bills_agree_to_the_tick(name: str) -> None:
    model, day, prompt, cached, output, tools, tier, ticks = RECORDED[name]
    usage = Usage(prompt, cached, output, 0, tools, tier)
    assert bill(usage, sheet(model, day)).total_ticks == ticks


def test_reasoning_bills_as_output() -> None:
    """The recorded grok-4.3 chat has 1 visible and 146 reasoning tokens."""
    answer = bill(Usage(197, 192, 1, 146), sheet(day="2026-07-28"))
    assert (answer.output_ticks, answer.reasoning_ticks) == (25_000, 146 * 25_000)
    assert answer.usd == Decimal("0.00041215")


def test_todays_cached_price_is_not_julys() -> None:
    warm = Usage(1234, 1152, 297, 0)
    assert bill(warm, sheet("grok-4.5")).total_ticks == 25_220_000 - 1152 * 2000


@pytest.mark.parametrize(("prompt", "ticks"), [(199_999, 199_999 * 12_500), (200_000, 200_000 * 25_000)])
def test_the_long_level_starts_at_the_threshold_and_reprices_all(prompt: int, ticks: int) -> None:
    answer = bill(Usage(prompt, 0, 0, 0), sheet())
    assert (answer.total_ticks, answer.long_context) == (ticks, prompt == 200_000)


def test_cached_tokens_count_towards_the_threshold() -> None:
    answer = bill(Usage(200_000, 199_936, 10, 0), sheet())
    assert answer == Bill(64 * 25_000, 199_936 * 4_000, 10 * 50_000, 0, 0, long_context=True)


def test_an_exclusive_threshold() -> None:
    exclusive = replace(sheet(), threshold_inclusive=False)
    assert not bill(Usage(200_000, 0, 0, 0), exclusive).long_context
    assert bill(Usage(200_001, 0, 0, 0), exclusive).long_context


def test_priority_is_charged_only_where_the_response_says_so() -> None:
    base = bill(Usage(1000, 200, 300, 50, {"web_search": 2}), sheet())
    default = bill(Usage(1000, 200, 300, 50, {"web_search": 2}, "default"), sheet())
    priority = bill(Usage(1000, 200, 300, 50, {"web_search": 2}, "priority"), sheet())
    assert base == default
    assert priority.tool_ticks == base.tool_ticks == 100_000_000
    assert priority.total_ticks - priority.tool_ticks == 2 * (base.total_ticks - base.tool_ticks)


def test_batch_takes_a_fifth_off_every_token() -> None:
    usage = Usage(100_000, 40_000, 3_000, 500)
    assert bill(usage, sheet(), batch=True).total_ticks * 5 == bill(usage, sheet()).total_ticks * 4


@given(usages(), usages())
def test_a_bill_grows_with_every_count(one: Usage, more: Usage) -> None:
    larger = Usage(
        one.prompt_tokens + more.prompt_tokens,
        one.cached_tokens + more.cached_tokens,
        one.completion_tokens + more.completion_tokens,
        one.reasoning_tokens + more.reasoning_tokens,
        {"web_search": one.tool_calls["web_search"] + more.tool_calls["web_search"]},
        one.service_tier,
    )
    assert bill(larger, sheet()).total_ticks >= bill(one, sheet()).total_ticks


@given(usages(), usages())
def test_bills_add_up_within_a_price_level(one: Usage, other: Usage) -> None:
    """Without a long level and at one service tier, the bill of the sum is the sum of the bills."""
    flat = replace(sheet(), long=None, threshold_tokens=None)
    other = replace(other, service_tier=one.service_tier)
    both = Usage(
        one.prompt_tokens + other.prompt_tokens,
        one.cached_tokens + other.cached_tokens,
        one.completion_tokens + other.completion_tokens,
        one.reasoning_tokens + other.reasoning_tokens,
        {"web_search": one.tool_calls["web_search"] + other.tool_calls["web_search"]},
        one.service_tier,
    )
    assert bill(both, flat).total_ticks == bill(one, flat).total_ticks + bill(other, flat).total_ticks


@given(usages())
def test_the_parts_are_disjoint_and_sum(usage: Usage) -> None:
    """Each kind of token billed alone, at the level of the whole request, gives its part of the bill."""
    whole = bill(usage, sheet())
    rates, long_context = sheet().rates_for(usage.prompt_tokens)
    factor = 2 if usage.service_tier == "priority" else 1
    new = usage.prompt_tokens - usage.cached_tokens
    assert whole.long_context == long_context
    assert whole.input_ticks == new * rates.input_ticks * factor
    assert whole.cached_ticks == usage.cached_tokens * rates.cached_ticks * factor
    assert whole.output_ticks == usage.completion_tokens * rates.output_ticks * factor
    assert whole.reasoning_ticks == usage.reasoning_tokens * rates.output_ticks * factor
    parts = whole.input_ticks + whole.cached_ticks + whole.output_ticks + whole.reasoning_ticks
    assert whole.total_ticks == parts + whole.tool_ticks


@given(usages(), st.integers(0, 1_000_000))
def test_a_cached_token_never_costs_more(usage: Usage, cached: int) -> None:
    cached = min(cached, usage.cached_tokens)
    colder = replace(usage, cached_tokens=cached)
    assert bill(usage, sheet()).total_ticks <= bill(colder, sheet()).total_ticks


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ((10, 11, 0, 0), "11 cached of 10 prompt tokens"),
        ((-1, 0, 0, 0), "prompt_tokens = -1"),
        ((10, -1, 0, 0), "cached_tokens = -1"),
        ((10, 0, -2, 0), "completion_tokens = -2"),
        ((10, 0, 0, -3), "reasoning_tokens = -3"),
    ],
)
def test_impossible_usage_is_refused(fields: tuple[int, int, int, int], sentence: str) -> None:
    with pytest.raises(BillError, match=sentence):
        Usage(*fields)


def test_what_has_no_price_is_refused_not_free() -> None:
    with pytest.raises(BillError, match="no price for the tool 'image_generation'"):
        bill(Usage(1, 0, 0, 0, {"image_generation": 1}), sheet())
    with pytest.raises(BillError, match="grok-3-mini has no priority price"):
        bill(Usage(1, 0, 0, 0, service_tier="priority"), sheet("grok-3-mini"))
    with pytest.raises(BillError, match=r"grok-4\.7 has no batch price"):
        bill(Usage(1, 0, 0, 0), sheet("grok-4.7"), batch=True)
    with pytest.raises(BillError, match="calls of web_search = -1"):
        Usage(1, 0, 0, 0, {"web_search": -1})


@given(st.integers(-(10**40), 10**40))
def test_dollars_are_exact_text(ticks: int) -> None:
    text = usd_text(ticks)
    assert "e" not in text.lower()
    whole, _, part = text.partition(".")
    assert int(whole + part.ljust(10, "0")) == ticks
    assert not part.endswith("0")


def test_dollars_of_small_and_whole_sums() -> None:
    assert [usd_text(t) for t in (0, 1, -1, 4_121_500, 10**10, 25 * 10**9)] == [
        "0",
        "0.0000000001",
        "-0.0000000001",
        "0.00041215",
        "1",
        "2.5",
    ]
