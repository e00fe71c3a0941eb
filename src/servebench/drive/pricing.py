"""Which price sheet bills a run: the catalog's, one of the user's own, another model's, or what the target
lists itself.
"""

import datetime
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from servebench.catalog.load import load_catalog
from servebench.catalog.market import list_price
from servebench.catalog.price_file import PriceFile
from servebench.catalog.prices import PriceSheet, Rates, in_us, usd_per_million
from servebench.catalog.provenance import Kind, Source
from servebench.catalog.yaml_file import read_catalog_file
from servebench.errors import UsageError

US_HOST = "us.api.x.ai"
_TICKS_PER_USD_MTOK = 10_000  # ticks per token of a dollar per million tokens
# /v1/models, xAI's form: integers, in ticks per token
_BASE = ("prompt_text_token_price", "cached_prompt_text_token_price", "completion_text_token_price")
_LONG = tuple(f"{name}_long_context" for name in _BASE)


def price_sheet(model: str, url: str, *, spec: str | None = None) -> PriceSheet | None:
    """spec: --price-sheet, a YAML file or a model whose price holds; None: the model's own in the catalog.

    None where nobody has published a price. Raises UsageError for a spec that gives none.
    """
    sheet = _catalog(model) if spec is None else _given(spec, model)
    if sheet is None or urlsplit(url).hostname != US_HOST:
        return sheet
    try:
        return in_us(sheet)
    except ValueError as error:
        raise UsageError(f"target {url}: {error}; --price-sheet gives a price of your own") from None


def _catalog(model: str) -> PriceSheet | None:
    try:
        return load_catalog().price(model)
    except UsageError:
        return None


def _given(spec: str, model: str) -> PriceSheet:
    path = Path(spec)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        return _from_file(path, model)
    found = _catalog(spec)
    if found is None and "/" in spec:
        return _from_market(spec)
    if found is None:
        raise UsageError(
            f"--price-sheet {spec}: neither a YAML file nor a model with a known price; name one of the "
            "catalog (`servebench prices`), or PROVIDER/MODEL of the genai-prices package"
        )
    return found


def _from_file(path: Path, model: str) -> PriceSheet:
    prices = read_catalog_file(path, PriceFile).prices
    named = [name for name, row in prices.items() if model == name or model in row.aliases]
    if not named and len(prices) == 1:
        named = list(prices)
    if not named:
        raise UsageError(f"{path}: no price of {model!r}; it has {', '.join(prices) or 'none'}")
    return max(prices[named[0]].to_sheets(named[0]), key=lambda sheet: sheet.as_of)


def _from_market(spec: str) -> PriceSheet:
    provider, _, name = spec.partition("/")
    today = datetime.datetime.now(datetime.UTC).date()
    price = list_price(provider, name, on=today)

    def ticks(usd: Decimal | None, otherwise: Decimal | None = None) -> int:
        value = (usd if usd is not None else otherwise or Decimal(0)) * _TICKS_PER_USD_MTOK
        if value != int(value):
            raise UsageError(f"--price-sheet {spec}: {value} ticks a token is no whole number; give a file")
        return int(value)

    long = None
    if price.above_tokens is not None and price.long_input_usd is not None:
        long = Rates(
            ticks(price.long_input_usd),
            ticks(price.long_cached_usd, price.long_input_usd),
            ticks(price.long_output_usd),
        )
    return PriceSheet(
        model=name,
        as_of=today.isoformat(),
        base=Rates(ticks(price.input_usd), ticks(price.cached_usd, price.input_usd), ticks(price.output_usd)),
        long=long,
        threshold_tokens=price.above_tokens if long is not None else None,
        threshold_inclusive=False,
        priority_multiplier=None,
        batch_multiplier=None,
        tool_ticks={},
        source=Source(Kind.PUBLISHED, "genai-prices", today.isoformat()),
    )


def listed_sheet(entry: Mapping[str, Any], known: PriceSheet | None, *, url: str) -> PriceSheet | None:
    """The prices of an entry of the target's /v1/models; None where it has none. What the list does not say
    (multipliers, tools) stays as known. Raises UsageError on prices that are no counts.
    """
    base, long = _listed(entry, _BASE), _listed(entry, _LONG)
    if base is None:
        return None
    threshold = entry.get("long_context_threshold")
    has_long = long is not None and isinstance(threshold, int) and threshold > 0
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    source = Source(Kind.PUBLISHED, f"/v1/models of {urlsplit(url).hostname}", today)
    fresh = PriceSheet(
        model=str(entry.get("id", "")),
        as_of=today,
        base=base,
        long=long if has_long else None,
        threshold_tokens=threshold if has_long else None,
        threshold_inclusive=True,
        priority_multiplier=None,
        batch_multiplier=None,
        tool_ticks={},
        source=source,
    )
    if known is None:
        return fresh
    return replace(
        fresh,
        priority_multiplier=known.priority_multiplier,
        batch_multiplier=known.batch_multiplier,
        tool_ticks=known.tool_ticks,
        threshold_inclusive=known.threshold_inclusive,
    )


def _listed(entry: Mapping[str, Any], names: tuple[str, ...]) -> Rates | None:
    values = [entry.get(name) for name in names]
    if any(value is None for value in values):
        return None
    counts = [value for value in values if type(value) is int and value >= 0]
    if len(counts) < len(values):
        raise UsageError(f"the target lists prices of {entry.get('id')!r} that are no counts: {values}")
    return Rates(*counts)


def price_note(fresh: PriceSheet, known: PriceSheet | None) -> str:
    """One sentence: what the target lists, and where the catalog says otherwise."""
    if known is None:
        return f"the target lists {fresh.model} at {_rates_text(fresh.base)}; the catalog has no price"
    same = (fresh.base, fresh.long, fresh.threshold_tokens) == (
        known.base,
        known.long,
        known.threshold_tokens,
    )
    if same:
        return f"the target lists {fresh.model} at the catalog's prices of {known.as_of}"
    other = (
        "" if fresh.threshold_tokens == known.threshold_tokens else ", from another long-context threshold"
    )
    return (
        f"the target lists {fresh.model} at {_rates_text(fresh.base)}, which bills this run; "
        f"the catalog's prices of {known.as_of} are {_rates_text(known.base)}{other}"
    )


def _rates_text(rates: Rates) -> str:
    shown = (rates.input_ticks, rates.cached_ticks, rates.output_ticks)
    dollars = " / ".join(f"{usd_per_million(ticks):.2f}" for ticks in shown)
    return f"${dollars} per million tokens (in / cached / out)"
