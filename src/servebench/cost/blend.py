"""Blended price: what a token of a traffic mix costs, cached, fresh and generated ones weighed together.

    blend = (r((1 - h) p_in + h p_cache) + p_out)/(r + 1)

r: input tokens (cached too) to an output token, h: share of the input that is cached. Money is Decimal.
"""

from dataclasses import dataclass
from decimal import Decimal

from servebench.catalog.market import ListPrice
from servebench.catalog.prices import TICKS_PER_USD, Rates


@dataclass(frozen=True, slots=True)
class Mix:
    """A traffic mix: r input tokens (cached too) to an output token; share h of the input is cached."""

    in_out_ratio: float  # r
    cache_hit_share: float  # h

    def __post_init__(self) -> None:
        if not self.in_out_ratio >= 0 or self.in_out_ratio == float("inf"):
            raise ValueError(f"in_out_ratio must be a number of at least 0, not {self.in_out_ratio}")
        if not 0 <= self.cache_hit_share <= 1:
            raise ValueError(f"cache_hit_share must lie in 0..1, not {self.cache_hit_share}")

    def shares(self) -> tuple[Decimal, Decimal, Decimal]:
        """Uncached input, cached input and output as shares of all tokens: they sum to 1."""
        r, h = exact(self.in_out_ratio), exact(self.cache_hit_share)
        return r * (1 - h) / (r + 1), r * h / (r + 1), 1 / (r + 1)


def blend_ticks(rates: Rates, mix: Mix) -> Decimal:
    """Ticks per token of the mix."""
    new, cached, output = mix.shares()
    return new * rates.input_ticks + cached * rates.cached_ticks + output * rates.output_ticks


def blend(rates: Rates, mix: Mix) -> Decimal:
    """The same in USD per million tokens."""
    return blend_ticks(rates, mix) * 1_000_000 / TICKS_PER_USD


def blend_list_price(price: ListPrice, mix: Mix) -> Decimal:
    """USD per million tokens of the mix at a list price, below its long-context level.

    Cached tokens cost the full rate where no discount is listed.
    """
    new, cached, output = mix.shares()
    cached_usd = price.input_usd if price.cached_usd is None else price.cached_usd
    return new * price.input_usd + cached * cached_usd + output * price.output_usd


def exact(value: float) -> Decimal:
    """0.37 means 37/100, not the nearest double."""
    return Decimal(repr(float(value)))
