"""List prices of the models we compare with, from genai-prices: its bundled data, never the network.

Threshold rule there: a tier holds above its start (exclusive), and re-prices the whole request.
"""

import datetime
import importlib.metadata
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from servebench.catalog.prices import PriceSheet, Rates, usd_per_million
from servebench.errors import UsageError


@dataclass(frozen=True, slots=True)
class ListPrice:
    """USD per million tokens. cached None: no discount is listed. The long level holds above_tokens."""

    input_usd: Decimal
    cached_usd: Decimal | None
    output_usd: Decimal
    long_input_usd: Decimal | None
    long_cached_usd: Decimal | None
    long_output_usd: Decimal | None
    above_tokens: int | None


@dataclass(frozen=True, slots=True)
class MarketVersion:
    """Which data the prices came from. newest_change: the latest dated price in it, so its least age."""

    package: str
    version: str
    newest_change: str | None  # ISO date; None: no dated price was in force

    def __str__(self) -> str:
        newest = (
            f"newest dated price {self.newest_change}" if self.newest_change else "no dated price by then"
        )
        return f"{self.package} {self.version} ({newest})"


def market_version(*, on: datetime.date) -> MarketVersion:
    """The package in use, and the newest dated price in it that was in force on that day."""
    from genai_prices import data_snapshot, types  # 0.2 s, and only the comparison needs it

    models = [model for provider in data_snapshot.get_snapshot().providers for model in provider.models]
    conditional = [entry for model in models if isinstance(model.prices, list) for entry in model.prices]
    variants = [variant for model in models for variant in model.price_variants or ()]
    constraints = [entry.constraint for entry in conditional] + [variant.constraint for variant in variants]
    starts = [known.start_date for known in constraints if isinstance(known, types.StartDateConstraint)]
    newest = max((start for start in starts if start <= on), default=None)
    version = importlib.metadata.version("genai-prices")
    return MarketVersion("genai-prices", version, None if newest is None else newest.isoformat())


def list_price(provider: str, model: str, *, on: datetime.date) -> ListPrice:
    """The standard (not batch, not priority) text price on that day. Raises UsageError where none is."""
    from genai_prices import data_snapshot  # imported late, as above

    try:
        _, info = data_snapshot.get_snapshot().find_provider_model(model, None, provider, None)
    except LookupError:
        raise UsageError(f"genai-prices lists no price of {provider}/{model}") from None
    noon = datetime.datetime(on.year, on.month, on.day, 12, tzinfo=datetime.UTC)
    prices = info.get_prices(noon)
    new, cached, output = (
        _levels(getattr(prices, name, None)) for name in ("input_mtok", "cache_read_mtok", "output_mtok")
    )
    if new is None or output is None:
        raise UsageError(f"genai-prices lists no text price of {provider}/{model}")
    starts = {level[2] for level in (new, cached, output) if level is not None and level[2] is not None}
    if len(starts) > 1:
        raise UsageError(f"genai-prices lists several thresholds of {provider}/{model}: {sorted(starts)}")
    long = bool(starts)
    return ListPrice(
        input_usd=new[0],
        cached_usd=None if cached is None else cached[0],
        output_usd=output[0],
        long_input_usd=new[1] if long else None,
        long_cached_usd=cached[1] if long and cached is not None else None,
        long_output_usd=output[1] if long else None,
        above_tokens=starts.pop() if long else None,
    )


def of_sheet(sheet: PriceSheet) -> ListPrice:
    """Our own sheet in the same terms, so that one table holds both."""

    def usd(rates: Rates | None, field: str) -> Decimal | None:
        return None if rates is None else usd_per_million(getattr(rates, field))

    above = sheet.threshold_tokens
    if above is not None and sheet.threshold_inclusive:
        above -= 1
    return ListPrice(
        input_usd=usd_per_million(sheet.base.input_ticks),
        cached_usd=usd_per_million(sheet.base.cached_ticks),
        output_usd=usd_per_million(sheet.base.output_ticks),
        long_input_usd=usd(sheet.long, "input_ticks"),
        long_cached_usd=usd(sheet.long, "cached_ticks"),
        long_output_usd=usd(sheet.long, "output_ticks"),
        above_tokens=above,
    )


def _levels(price: Any) -> tuple[Decimal, Decimal, int | None] | None:
    """(base, long, start of the long level) of one of genai's prices: a Decimal, or a base with tiers."""
    if price is None:
        return None
    if isinstance(price, Decimal):
        return price, price, None
    if not price.tiers:
        return price.base, price.base, None
    if len(price.tiers) > 1:
        raise UsageError("genai-prices lists more than one long-context level, which servebench cannot show")
    return price.base, price.tiers[0].price, price.tiers[0].start
