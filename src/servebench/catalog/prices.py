"""API prices as the integers xAI's own /v1/models prints: ticks per token, 1 USD = 10^10 ticks.

Long context re-prices the whole request once its prompt (cached tokens included) reaches the threshold.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from servebench.catalog.provenance import Source

TICKS_PER_USD = 10**10


@dataclass(frozen=True, slots=True)
class Rates:
    """Ticks per token of one price level. Reasoning bills as output."""

    input_ticks: int
    cached_ticks: int
    output_ticks: int


@dataclass(frozen=True, slots=True)
class PriceSheet:
    """What one model costs, from as_of on.

    threshold_tokens None: no long-context level. threshold_inclusive: xAI's "at or above" (True) against
    "above" (False). priority_multiplier and batch_multiplier apply to token charges after the cache discount.
    tool_ticks: charge per call by server-side tool name. low and high: the base rates at the ends of a
    MODELLED sheet's band; None where the price is not modelled. us_multiplier: of token rates at the US
    endpoint; None where the model is not listed there.
    """

    model: str
    as_of: str  # ISO date
    base: Rates
    long: Rates | None
    threshold_tokens: int | None
    threshold_inclusive: bool
    priority_multiplier: Decimal | None
    batch_multiplier: Decimal | None
    tool_ticks: Mapping[str, int]
    source: Source
    low: Rates | None = None
    high: Rates | None = None
    us_multiplier: Decimal | None = None

    def rates_for(self, prompt_tokens: int) -> tuple[Rates, bool]:
        """The rates for this many prompt tokens (cached included), and whether they are the long ones."""
        if self.long is None or self.threshold_tokens is None:
            return self.base, False
        reached = (
            prompt_tokens >= self.threshold_tokens
            if self.threshold_inclusive
            else prompt_tokens > self.threshold_tokens
        )
        return (self.long, True) if reached else (self.base, False)


def in_us(sheet: PriceSheet) -> PriceSheet:
    """The sheet as the US endpoint bills. With priority both multipliers hold: an assumption, nobody says.

    Raises ValueError where the model has no US price, or one that is no whole number of ticks.
    """
    factor = sheet.us_multiplier
    if factor is None:
        raise ValueError(f"{sheet.model} is not listed at the US endpoint as of {sheet.as_of}")

    def times(rates: Rates | None) -> Rates | None:
        if rates is None:
            return None
        products = [getattr(rates, name) * factor for name in Rates.__slots__]
        if any(product != int(product) for product in products):
            raise ValueError(f"{sheet.model}: a rate x {factor} is no whole number of ticks")
        return Rates(*map(int, products))

    base = times(sheet.base)
    assert base is not None
    return replace(
        sheet, base=base, long=times(sheet.long), low=times(sheet.low), high=times(sheet.high),
        us_multiplier=None, source=replace(sheet.source, note=f"US endpoint: token rates x {factor}"),
    )  # fmt: skip


def usd_per_million(ticks_per_token: int) -> Decimal:
    return Decimal(ticks_per_token) * 1_000_000 / TICKS_PER_USD
