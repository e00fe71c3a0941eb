"""The dollars of a run: exact sums of what its records carry, and their split into the parts of the bill."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext

import numpy as np
from numpy.typing import NDArray

from servebench.catalog.load import load_catalog
from servebench.catalog.prices import TICKS_PER_USD, PriceSheet
from servebench.cost.bill import BillError, Usage, bill, usd_text
from servebench.errors import UsageError
from servebench.meter.record import RequestRecord

COMPONENTS = ("input", "cached_input", "output", "reasoning", "tool")
UNEXPLAINED = "unexplained"

PriceOf = Callable[[str], PriceSheet | None]


@dataclass(frozen=True, slots=True)
class Cost:
    """usd None: no known cost at all. wasted_usd: of requests that failed. sources: requests by cost_source.

    component_usd is exact text by component; what the server billed beyond the price sheet is "unexplained".
    """

    usd: Decimal | None
    wasted_usd: Decimal
    component_usd: dict[str, str]
    sources: dict[str, int]
    unknown: int


def catalog_price(model: str) -> PriceSheet | None:
    """The catalog's sheet of a model; None where nobody has published one."""
    try:
        return load_catalog().price(model)
    except UsageError:
        return None


def component_rows(records: Sequence[RequestRecord], price_of: PriceOf) -> NDArray[np.int64]:
    """Each record's component_ticks, one row a record: COMPONENTS, then the unexplained."""
    columns = {name: number for number, name in enumerate((*COMPONENTS, UNEXPLAINED))}
    rows = np.zeros((len(records), len(columns)), dtype=np.int64)
    sheets: dict[str, PriceSheet | None] = {}
    for row, record in zip(rows, records, strict=True):
        if record.model not in sheets:
            sheets[record.model] = price_of(record.model)
        for name, ticks in component_ticks(record, sheets[record.model]).items():
            row[columns[name]] = ticks
    return rows


def cost_of(records: Sequence[RequestRecord], components: NDArray[np.int64] | None = None) -> Cost:
    """Sum and split. components: the rows of component_rows; None: no split."""
    total_ticks = wasted_ticks = Decimal(0)
    sources: dict[str, int] = {}
    unknown = 0
    with localcontext(prec=60):
        for record in records:
            if record.cost_usd is None:
                unknown += record.sent_ns is not None
                continue
            ticks = Decimal(record.cost_usd) * TICKS_PER_USD
            total_ticks += ticks
            if not record.ok:
                wasted_ticks += ticks
            source = record.cost_source or "unknown"
            sources[source] = sources.get(source, 0) + 1
        known = bool(sources) or not unknown
        return Cost(
            total_ticks / TICKS_PER_USD if known else None,
            wasted_ticks / TICKS_PER_USD,
            {} if components is None else _named(components.sum(axis=0).tolist()),
            dict(sorted(sources.items())),
            unknown,
        )


def _named(ticks: list[int]) -> dict[str, str]:
    found = {name: usd_text(part) for name, part in zip(COMPONENTS, ticks[:-1], strict=True)}
    return {**found, UNEXPLAINED: usd_text(ticks[-1])} if ticks[-1] else found


def plain(amount: Decimal) -> str:
    """Exact decimal text without exponent or trailing zeros."""
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def per_million(amount: Decimal | None, tokens: int) -> str | None:
    """Dollars per million tokens to a millionth; None where undefined."""
    if amount is None or tokens <= 0:
        return None
    with localcontext(prec=60):
        return plain((amount * 1_000_000 / tokens).quantize(Decimal("0.000001")))


def component_ticks(record: RequestRecord, sheet: PriceSheet | None) -> dict[str, int]:
    """A record's cost by component, in ticks; what the sheet does not say is "unexplained". Empty: free."""
    if record.cost_usd is None:
        return {}
    total = int(Decimal(record.cost_usd) * TICKS_PER_USD)
    if not total:
        return {}
    parts = _bill_parts(record, sheet)
    difference = total - sum(parts.values())
    return {**parts, UNEXPLAINED: difference} if difference else parts


def _bill_parts(record: RequestRecord, sheet: PriceSheet | None) -> dict[str, int]:
    if sheet is None or record.usage_source != "usage" or record.prompt_tokens is None:
        return {}
    usage = (
        record.prompt_tokens,
        record.cached_tokens or 0,
        record.completion_tokens or 0,
        record.reasoning_tokens or 0,
    )
    try:
        one = bill(Usage(*usage, service_tier=record.service_tier), sheet)
    except BillError:
        return {}
    ticks = (one.input_ticks, one.cached_ticks, one.output_ticks, one.reasoning_ticks, one.tool_ticks)
    return dict(zip(COMPONENTS, ticks, strict=True))
