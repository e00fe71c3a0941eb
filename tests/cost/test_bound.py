"""Bounds: no request within its limits costs more, and what was larger raises those to come."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servebench.catalog.load import load_catalog
from servebench.catalog.prices import PriceSheet
from servebench.cost.bill import Usage, bill
from servebench.cost.bound import TOOL_CALL_TOKENS, Bounds, BoundTerms, bound_terms

TIER = load_catalog().tier("grok-4.3")


def sheet() -> PriceSheet:
    return load_catalog().price("grok-4.3")


def terms(max_reasoning_tokens: int | None = None) -> BoundTerms:
    return bound_terms(
        TIER, bytes_per_token=TIER.bytes_per_token, preamble_tokens=TIER.preamble_tokens,
        max_reasoning_tokens=max_reasoning_tokens,
    )  # fmt: skip


@given(st.integers(1, 400_000), st.integers(1, 4_000), st.sampled_from([None, "low", "high"]), st.data())
@settings(deadline=None, max_examples=100)
def test_no_bill_within_the_counts_is_above_the_bound(
    prompt: int, limit: int, effort: str | None, data: st.DataObject
) -> None:
    """On both sides of the long-context threshold, whatever was cached."""
    bound = Bounds(sheet(), terms()).of(prompt_tokens=prompt, output_tokens=limit, effort=effort)
    prompt_used = data.draw(st.integers(0, bound.prompt_tokens))
    usage = Usage(
        prompt_used,
        data.draw(st.integers(0, prompt_used)),
        data.draw(st.integers(0, bound.output_tokens)),
        data.draw(st.integers(0, bound.reasoning_tokens)),
    )
    assert bill(usage, sheet()).total_ticks <= bound.ticks


def test_the_parts_of_a_bound() -> None:
    bounds = Bounds(sheet(), terms())
    bound = bounds.of(prompt_tokens=3_000, output_tokens=100, effort=None)
    # 4 bytes a token as planned, 3 at least; the preamble is recorded, so it has no band
    assert bound.prompt_tokens == 4_000
    assert bound.output_tokens == 100
    # low, the default: median 150, sigma 0.6
    assert bound.reasoning_tokens == pytest.approx(150 * 14.88, rel=0.001)
    assert bounds.of(prompt_tokens=1, output_tokens=None, effort="none").reasoning_tokens == 0
    assert bounds.output_tokens(None, tools=False) == 128_000
    assert bounds.output_tokens(5, tools=True) == 5 + TOOL_CALL_TOKENS
    assert "assumed" in bounds.terms.source


def test_the_users_word_goes_before_the_catalogs_and_a_larger_sight_before_both() -> None:
    bounds = Bounds(sheet(), terms(500))
    first = bounds.of(prompt_tokens=1_000, output_tokens=50, effort="high")
    assert first.reasoning_tokens == 500
    bounds.saw(first, prompt=900, output=50, reasoning=2_000, effort="high")
    assert bounds.of(prompt_tokens=1_000, output_tokens=50, effort="high").reasoning_tokens == 3_000
    assert bounds.of(prompt_tokens=1_000, output_tokens=50, effort="low").reasoning_tokens == 500
    assert bounds.of(prompt_tokens=1_000, output_tokens=50, effort="none").reasoning_tokens == 0
    assert (bounds.largest_reasoning_seen, bounds.terms.source) == (2_000, "stated: --max-reasoning-tokens")


def test_prompts_and_outputs_above_their_bound_raise_it_too() -> None:
    bounds = Bounds(sheet(), terms())
    first = bounds.of(prompt_tokens=1_000, output_tokens=50, effort="none")
    bounds.saw(first, prompt=first.prompt_tokens + 100, output=60, reasoning=0, effort="none")
    second = bounds.of(prompt_tokens=1_000, output_tokens=50, effort="none")
    assert (second.prompt_tokens - first.prompt_tokens, second.output_tokens) == (150, 65)
    assert second.ticks > first.ticks


def test_a_model_that_nobody_knows_has_assumed_bounds() -> None:
    unknown = bound_terms(None, bytes_per_token=4.0, preamble_tokens=0)
    bound = Bounds(replace(sheet(), model="mine"), unknown).of(
        prompt_tokens=300, output_tokens=10, effort="extreme"
    )
    assert (bound.prompt_tokens, bound.reasoning_tokens) == (2_400, 32_000)
    assert "assumed" in unknown.source
