"""`servebench prices`: our price sheets, and the list prices of the models we compare with."""

import datetime
import json
from decimal import Decimal
from typing import Any

import click

from servebench.catalog.load import Catalog, load_catalog
from servebench.catalog.market import ListPrice, list_price, market_version, of_sheet
from servebench.catalog.prices import PriceSheet, Rates, usd_per_million
from servebench.catalog.provenance import Kind
from servebench.cli.prices_break_even import break_even_json, print_break_even
from servebench.errors import UsageError


@click.command(name="prices")
@click.option(
    "--on",
    "day",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="YYYY-MM-DD",
    help="The prices of that day; default: today.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def command(day: datetime.datetime | None, as_json: bool) -> None:
    """API prices in dollars per million tokens, with dates and sources; each tier's break-even price, by what
    a GPU hour costs; and the list prices of the models we compare with.
    """
    catalog = load_catalog()
    on = datetime.datetime.now(datetime.UTC).date() if day is None else day.date()
    sheets = sheets_on(catalog, on)
    if as_json:
        click.echo(json.dumps(to_json(catalog, sheets, on), indent=2))
    else:
        _print(catalog, sheets, on)


def sheets_on(catalog: Catalog, on: datetime.date) -> list[PriceSheet]:
    """The sheet of each model that has one on that day."""
    sheets = []
    for model in catalog.prices:
        try:
            sheets.append(catalog.price(model, on))
        except UsageError:  # its first sheet is younger than that day
            continue
    return sheets


def market_rows(catalog: Catalog, on: datetime.date) -> list[tuple[str, str, ListPrice, str]]:
    """(name, maker, price, note) of each reference model that has a list price."""
    return [
        (ref.name, ref.maker, list_price(*ref.genai_id, on=on), ref.note)
        for ref in catalog.references.values()
        if ref.genai_id is not None
    ]


def to_json(catalog: Catalog, sheets: list[PriceSheet], on: datetime.date) -> dict[str, Any]:
    """Our sheets in ticks per token and USD per million (as text: exact), the others' in USD per million."""
    version = market_version(on=on)
    return {
        "on": on.isoformat(),
        "ours": [_sheet_json(catalog, sheet) for sheet in sheets],
        "break_even": break_even_json(catalog, on),
        "retired": {slug: {"bills_as": row.to, "since": row.since} for slug, row in catalog.retired.items()},
        "market": {
            "package": version.package,
            "version": version.version,
            "newest_dated_price": version.newest_change,
            "models": [
                {"id": ref.id, "name": ref.name, "maker": ref.maker, "note": ref.note}
                | {"usd_per_mtok": _price_json(list_price(*ref.genai_id, on=on))}
                for ref in catalog.references.values()
                if ref.genai_id is not None
            ],
        },
    }


def _sheet_json(catalog: Catalog, sheet: PriceSheet) -> dict[str, Any]:
    return {
        "model": sheet.model,
        "aliases": [alias for alias, model in catalog.aliases.items() if model == sheet.model],
        "as_of": sheet.as_of,
        "kind": sheet.source.kind,
        "source": sheet.source.source,
        "source_date": sheet.source.date,
        "note": sheet.source.note,
        "ticks_per_token": _rates_json(sheet.base),
        "ticks_per_token_low": _rates_json(sheet.low),
        "ticks_per_token_high": _rates_json(sheet.high),
        "ticks_per_token_long": _rates_json(sheet.long),
        "long_context_threshold_tokens": sheet.threshold_tokens,
        "threshold_inclusive": sheet.threshold_inclusive,
        "usd_per_mtok": _price_json(of_sheet(sheet)),
        "priority_multiplier": _plain(sheet.priority_multiplier),
        "batch_multiplier": _plain(sheet.batch_multiplier),
        "tool_ticks": dict(sheet.tool_ticks),
    }


def _rates_json(rates: Rates | None) -> dict[str, int] | None:
    if rates is None:
        return None
    return {"input": rates.input_ticks, "cached": rates.cached_ticks, "output": rates.output_ticks}


def _price_json(price: ListPrice) -> dict[str, Any]:
    return {
        "input": _plain(price.input_usd),
        "cached": _plain(price.cached_usd),
        "output": _plain(price.output_usd),
        "long_input": _plain(price.long_input_usd),
        "long_cached": _plain(price.long_cached_usd),
        "long_output": _plain(price.long_output_usd),
        "long_above_tokens": price.above_tokens,
    }


def _plain(value: Decimal | None) -> str | None:
    return None if value is None else format(value.normalize(), "f")


def _print(catalog: Catalog, sheets: list[PriceSheet], on: datetime.date) -> None:
    from servebench.cli.tables import console, table

    numbers = ("In", "Cached", "Out", "Long in", "cached", "out", "from")
    ours = table(
        f"servebench's price sheets on {on}, USD per million tokens",
        ("Model", *numbers, "As of"),
        right=numbers,
        whole=numbers,
    )
    for sheet in sheets:
        style = "yellow" if sheet.source.kind is Kind.MODELLED else ""
        long_at = f">={_thousands(sheet.threshold_tokens)}" if sheet.threshold_tokens else ""
        as_of = f"{sheet.as_of}\n{marked_kind(sheet)}"
        ours.add_row(sheet.model, *_cells(of_sheet(sheet)), long_at, as_of, style=style)
    title = f"List prices of {on} by {market_version(on=on)}, USD per million tokens"
    others = table(title, ("Model", *numbers, "Maker"), right=numbers, whole=numbers)
    rows = market_rows(catalog, on)
    for name, maker, price, _ in rows:
        long_at = f">{_thousands(price.above_tokens)}" if price.above_tokens is not None else ""
        others.add_row(name, *_cells(price), long_at, maker)
    out = console()
    out.print(ours)
    for source in dict.fromkeys(f"{s.source.kind}: {s.source.source}, {s.source.date}" for s in sheets):
        out.print(source, style="dim")
    print_break_even(catalog, on, out)
    redirects = ", ".join(f"{slug} -> {row.to}" for slug, row in catalog.retired.items())
    out.print(f"Retired slugs bill as: {redirects}", style="dim")
    out.print(others)
    out.print("genai-prices dates few prices: one without a date is taken to hold on any day.", style="dim")
    for name, _, _, note in rows:
        if note:
            out.print(f"{name}: {note}", style="dim")


def _thousands(tokens: int) -> str:
    return f"{tokens // 1000}k" if tokens % 1000 == 0 else f"{tokens:,}"


def marked_kind(sheet: PriceSheet) -> str:
    """The kind of a sheet, and of a MODELLED one the band of its input and output price, one line each."""
    if sheet.low is None or sheet.high is None:
        return str(sheet.source.kind)
    low, high = (
        f"{_money(usd_per_million(rates.input_ticks))}/{_money(usd_per_million(rates.output_ticks))}"
        for rates in (sheet.low, sheet.high)
    )
    return f"{sheet.source.kind}\nin/out\n{low} -\n{high}"


def _cells(price: ListPrice) -> list[str]:
    levels = (price.input_usd, price.cached_usd, price.output_usd)
    long = (price.long_input_usd, price.long_cached_usd, price.long_output_usd)
    return [_money(value) for value in (*levels, *long)]


def _money(value: Decimal | None) -> str:
    """At least two decimals, and all that there are."""
    if value is None:
        return "-"
    text = format(value.normalize(), "f")
    whole, _, part = text.partition(".")
    return f"{whole}.{part:0<2}"
