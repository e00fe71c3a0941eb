"""The most that one request may cost, reserved before it is sent. Pure.

    bound = bill(prompt bound, nothing cached, output bound, reasoning bound)

- prompt: the planned count, stretched from the ratio it was planned with to the least bytes a token may have,
  and the preamble at its upper end;
- output: the request's own limit, else the model's default one, and room for a tool call where tools are
  given, as no limit covers those;
- reasoning: no request parameter caps it. What the user stated (--max-reasoning-tokens), else
  median * exp(4.5 sigma) of the tier's assumed lengths for that effort, which 3 in a million draws pass.

Each is raised to the largest excess seen so far, and half of it more. A bound is an estimate all the same:
what breaks it is counted (budget.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, exp

import numpy as np
from numpy.typing import NDArray

from servebench.catalog.prices import PriceSheet
from servebench.catalog.tiers import Tier
from servebench.cost.bill import Usage, Whole, bill, token_charges

# assumed, 2026-11: for models outside the catalog, in the direction that costs
UNKNOWN_LEAST_BYTES_PER_TOKEN = 3.0
UNKNOWN_PREAMBLE_TOKENS = 2_000
UNKNOWN_OUTPUT_TOKENS = 128_000  # xAI's documented default limit
UNKNOWN_REASONING_TOKENS = 32_000
TOOL_CALL_TOKENS = 1_000
_SIGMAS = 4.5
_MARGIN = 1.5


@dataclass(frozen=True, slots=True)
class BoundTerms:
    """What bounds are made of. stretch: bytes per token as planned over the least possible; extra_preamble
    beyond the planned one; reasoning_tokens by effort, "" for any other; source: who says so.
    """

    stretch: float
    extra_preamble_tokens: int
    output_tokens: int
    reasoning_tokens: Mapping[str, int]
    default_effort: str
    source: str


def bound_terms(
    tier: Tier | None,
    *,
    bytes_per_token: float,
    preamble_tokens: int,
    max_reasoning_tokens: int | None = None,
) -> BoundTerms:
    """tier None: a model outside the catalog. bytes_per_token, preamble_tokens: as prompts were planned."""
    if tier is None:
        least, preamble = UNKNOWN_LEAST_BYTES_PER_TOKEN, UNKNOWN_PREAMBLE_TOKENS
        output, reasoning, effort = UNKNOWN_OUTPUT_TOKENS, {"": UNKNOWN_REASONING_TOKENS}, ""
        source = "assumed, 2026-11: the model is not in the catalog"
    else:
        ratio, before = tier.sources["bytes_per_token"], tier.sources["preamble_tokens"]
        least = ratio.low if ratio.low is not None else tier.bytes_per_token
        preamble = ceil(before.high if before.high is not None else tier.preamble_tokens)
        output, effort = tier.default_max_output_tokens, tier.default_reasoning_effort
        spread = exp(_SIGMAS * tier.reasoning_tokens_sigma)
        reasoning = {name: ceil(median * spread) for name, median in tier.reasoning_tokens.items()}
        reasoning[""] = max(reasoning.values())
        cited = tier.sources["reasoning_tokens_sigma"]
        source = f"{cited.kind.value}, {cited.date}: median x exp({_SIGMAS} sigma) of the tier's lengths"
    if max_reasoning_tokens is not None:
        # a request that asks for no reasoning is still bounded by the catalog's word for that
        reasoning = {
            name: 0 if name and tokens == 0 else max_reasoning_tokens for name, tokens in reasoning.items()
        }
        source = "stated: --max-reasoning-tokens"
    return BoundTerms(
        stretch=max(bytes_per_token / least, 1.0),
        extra_preamble_tokens=max(preamble - preamble_tokens, 0),
        output_tokens=output,
        reasoning_tokens=reasoning,
        default_effort=effort,
        source=source,
    )


@dataclass(frozen=True, slots=True)
class Bound:
    """Token counts, each at its most, and what they cost."""

    prompt_tokens: int
    output_tokens: int
    reasoning_tokens: int
    ticks: int


class Bounds:
    """The bounds of one model's requests; saw() tells it what they came to."""

    def __init__(self, sheet: PriceSheet, terms: BoundTerms) -> None:
        self.sheet, self.terms = sheet, terms
        self._reasoning: dict[str, int] = {}  # by effort, where it was raised
        self._more_prompt = self._more_output = 0
        self.largest_ticks = 0
        self.largest_reasoning_seen = 0

    def of(
        self, *, prompt_tokens: int, output_tokens: int | None, effort: str | None, tools: bool = False
    ) -> Bound:
        """prompt_tokens: as planned. output_tokens: the limit that is sent; None: the model's own."""
        prompt = self.prompt_tokens(prompt_tokens)
        output = self.output_tokens(output_tokens, tools=tools)
        reasoning = self.reasoning_tokens(effort)
        ticks = bill(Usage(prompt, 0, output, reasoning), self.sheet).total_ticks
        self.largest_ticks = max(self.largest_ticks, ticks)
        return Bound(prompt, output, reasoning, ticks)

    def of_many(self, prompt: Whole, limit: Whole, reasoning: Whole, *, tools: NDArray[np.bool_]) -> Whole:
        """The ticks of many bounds at once, row by row. prompt: as planned; limit: -1 for none; reasoning:
        reasoning_tokens() of each.
        """
        terms = self.terms
        most = (
            np.ceil(prompt * terms.stretch).astype(np.int64) + terms.extra_preamble_tokens + self._more_prompt
        )
        output = np.where(limit < 0, terms.output_tokens, limit) + np.where(tools, TOOL_CALL_TOKENS, 0)
        nothing = np.zeros(len(most), dtype=np.int64)
        parts = token_charges(
            (most, nothing, output + self._more_output, reasoning), self.sheet, service_tier=None
        )
        total: Whole = parts[0] + parts[1] + parts[2] + parts[3]
        return total

    def prompt_tokens(self, planned: int) -> int:
        return ceil(planned * self.terms.stretch) + self.terms.extra_preamble_tokens + self._more_prompt

    def output_tokens(self, limit: int | None, *, tools: bool) -> int:
        asked = self.terms.output_tokens if limit is None else limit
        return asked + (TOOL_CALL_TOKENS if tools else 0) + self._more_output

    def reasoning_tokens(self, effort: str | None) -> int:
        name = effort or self.terms.default_effort
        stated = self.terms.reasoning_tokens
        return max(stated.get(name, stated[""]), self._reasoning.get(name, 0))

    def saw(self, bound: Bound, *, prompt: int, output: int, reasoning: int, effort: str | None) -> None:
        """The counts that a request of this bound came to: what was larger raises the bounds to come."""
        self.largest_reasoning_seen = max(self.largest_reasoning_seen, reasoning)
        if reasoning * _MARGIN > bound.reasoning_tokens:
            name = effort or self.terms.default_effort
            self._reasoning[name] = max(self._reasoning.get(name, 0), ceil(reasoning * _MARGIN))
        if prompt > bound.prompt_tokens:
            self._more_prompt += ceil((prompt - bound.prompt_tokens) * _MARGIN)
        if output > bound.output_tokens:
            self._more_output += ceil((output - bound.output_tokens) * _MARGIN)
