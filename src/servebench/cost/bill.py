"""The API bill of one request, in integer ticks (1 USD = 10^10), by xAI's rules; usage.py reads the counts.

    ticks = ((prompt - cached) in + cached c + (completion + reasoning) out) * (2 if served at priority)
            + tool fees

The rates are the long-context ones for every token once the prompt (cached included) reaches the threshold.
Source: xAI's pricing page; thirteen recorded bills agree to the tick (the tests have them).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from servebench.catalog.prices import PriceSheet, Rates

Whole = NDArray[np.int64]
Counts = tuple[Whole, Whole, Whole, Whole]
Ticks = tuple[Whole, Whole, Whole, Whole]
N = TypeVar("N", bound=Any)


class BillError(ValueError):
    """Usage that cannot be, or that the price sheet has no price for: one sentence."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts in Chat Completions' terms: cached is part of prompt, reasoning stands beside completion.

    tool_calls: server-side tool calls by the name the price sheet has them under. service_tier is what the
    response said, not what was asked. Raises BillError on counts that cannot be.
    """

    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    tool_calls: Mapping[str, int] = field(default_factory=dict)
    service_tier: str | None = None

    def __post_init__(self) -> None:
        counts = {
            "prompt_tokens": self.prompt_tokens,
            "cached_tokens": self.cached_tokens,
            "completion_tokens": self.completion_tokens,
            "reasoning_tokens": self.reasoning_tokens,
            **{f"calls of {tool}": calls for tool, calls in self.tool_calls.items()},
        }
        for name, count in counts.items():
            if count < 0:
                raise BillError(f"usage says {name} = {count}: a count is never negative")
        if self.cached_tokens > self.prompt_tokens:
            raise BillError(
                f"usage says {self.cached_tokens} cached of {self.prompt_tokens} prompt tokens:"
                " cached tokens are a part of the prompt"
            )


@dataclass(frozen=True, slots=True)
class Bill:
    """What a request costs, in disjoint parts. input_ticks is for the uncached part of the prompt."""

    input_ticks: int
    cached_ticks: int
    output_ticks: int
    reasoning_ticks: int
    tool_ticks: int
    long_context: bool

    @property
    def total_ticks(self) -> int:
        return (
            self.input_ticks + self.cached_ticks + self.output_ticks + self.reasoning_ticks + self.tool_ticks
        )

    @property
    def usd(self) -> Decimal:
        return usd(self.total_ticks)


def bill(usage: Usage, sheet: PriceSheet, *, batch: bool = False) -> Bill:
    """The bill of one request. Raises BillError where the sheet has no price for what was used."""
    rates, long_context = sheet.rates_for(usage.prompt_tokens)
    multiplier = _multiplier(usage.service_tier, sheet, batch=batch)
    counts = (usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens, usage.reasoning_tokens)
    parts = _token_charges(counts, rates, multiplier)
    return Bill(
        input_ticks=parts[0],
        cached_ticks=parts[1],
        output_ticks=parts[2],
        reasoning_ticks=parts[3],
        tool_ticks=sum(_tool_fee(tool, calls, sheet) for tool, calls in usage.tool_calls.items()),
        long_context=long_context,
    )


def token_charges(counts: Counts, sheet: PriceSheet, *, service_tier: str | None) -> Ticks:
    """The token parts of many bills at once: arrays of prompt, cached, completion and reasoning tokens (as in
    Usage, and as sure to be possible) to arrays of input, cached, output and reasoning ticks, as in Bill.

    Raises BillError where the sheet has no price for the tier.
    """
    multiplier = _multiplier(service_tier, sheet, batch=False)
    ticks = _token_charges(counts, sheet.base, multiplier)
    if sheet.long is None or sheet.threshold_tokens is None or not len(counts[0]):
        return ticks
    prompt, threshold = counts[0], sheet.threshold_tokens
    reached = prompt >= threshold if sheet.threshold_inclusive else prompt > threshold
    if not reached.any():
        return ticks
    long = _token_charges(counts, sheet.long, multiplier)
    a, b, c, d = (np.where(reached, dear, plain) for dear, plain in zip(long, ticks, strict=True))
    return a, b, c, d


def usd(ticks: int) -> Decimal:
    """Exact, whatever the decimal context of the caller."""
    return Decimal(usd_text(ticks))


def usd_text(ticks: int) -> str:
    """The exact dollars as plain decimal text, no exponent and no trailing zeros: 4121500 -> "0.00041215"."""
    sign, digits = ("-" if ticks < 0 else ""), f"{abs(ticks):011d}"
    whole, part = digits[:-10], digits[-10:].rstrip("0")
    return f"{sign}{whole}.{part}" if part else f"{sign}{whole}"


def _multiplier(service_tier: str | None, sheet: PriceSheet, *, batch: bool) -> Decimal:
    if batch:
        if sheet.batch_multiplier is None:
            raise BillError(f"{sheet.model} has no batch price as of {sheet.as_of}")
        return sheet.batch_multiplier
    if service_tier == "priority":
        if sheet.priority_multiplier is None:
            raise BillError(f"{sheet.model} has no priority price as of {sheet.as_of}")
        return sheet.priority_multiplier
    return Decimal(1)


def _token_charges(counts: tuple[N, N, N, N], rates: Rates, multiplier: Decimal) -> tuple[N, N, N, N]:
    """(input, cached, output, reasoning) of (prompt, cached, completion, reasoning): one request or arrays.

    Exact in integers: a part of a tick, which no known price leaves, counts as a whole one.
    """
    prompt, cached, completion, reasoning = counts
    numerator, denominator = multiplier.as_integer_ratio()

    def charge(tokens: N, ticks_per_token: int) -> N:
        made: N = -(-tokens * (ticks_per_token * numerator) // denominator)
        return made

    return (
        charge(prompt - cached, rates.input_ticks),
        charge(cached, rates.cached_ticks),
        charge(completion, rates.output_ticks),
        charge(reasoning, rates.output_ticks),
    )


def _tool_fee(tool: str, calls: int, sheet: PriceSheet) -> int:
    if calls and tool not in sheet.tool_ticks:
        raise BillError(f"{sheet.model} has no price for the tool {tool!r} as of {sheet.as_of}")
    return calls * sheet.tool_ticks.get(tool, 0)
