"""The dollars of a run: exact sums of what its records carry, and their split into the parts of the bill."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext

import numpy as np
from numpy.typing import NDArray

from servebench.catalog.load import load_catalog
from servebench.catalog.prices import TICKS_PER_USD, PriceSheet
from servebench.cost.bill import BillError, token_charges, usd_text
from servebench.errors import UsageError
from servebench.meter.record import RequestRecord

COMPONENTS = ("input", "cached_input", "output", "reasoning", "tool")
UNEXPLAINED = "unexplained"
_MOST_TOKENS = 2**40  # more is no usage, and its ticks would not fit 63 bits

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
    """Each record's cost by component, in ticks, one row a record: COMPONENTS, then what of its cost the
    price sheet does not explain. Zeros: free, or no cost known.
    """
    rows = np.zeros((len(records), len(COMPONENTS) + 1), dtype=np.int64)
    totals = [0 if record.cost_usd is None else _ticks(record.cost_usd) for record in records]
    rows[:, -1] = totals
    alike: dict[tuple[str, str | None], list[int]] = {}
    for position, (record, total) in enumerate(zip(records, totals, strict=True)):
        if total and record.usage_source == "usage" and record.prompt_tokens is not None:
            alike.setdefault((record.model, record.service_tier), []).append(position)
    for (model, tier), positions in alike.items():
        sheet = price_of(model)
        if sheet is not None:
            _split(rows, records, np.array(positions), sheet, tier)
    return rows


def _split(
    rows: NDArray[np.int64],
    records: Sequence[RequestRecord],
    positions: NDArray[np.int64],
    sheet: PriceSheet,
    tier: str | None,
) -> None:
    """Move what the sheet explains of these rows from the unexplained to its components."""
    used = np.array([_usage(records[position]) for position in positions.tolist()])
    prompt, cached = used[:, 0], used[:, 1]
    possible = ((used >= 0) & (used <= _MOST_TOKENS)).all(axis=1) & (cached <= prompt)
    rows_of, counts = positions[possible], used[possible].astype(np.int64).T
    try:
        parts = token_charges((counts[0], counts[1], counts[2], counts[3]), sheet, service_tier=tier)
    except BillError:
        return
    for number, ticks in enumerate(parts):
        rows[rows_of, number] = ticks
        rows[rows_of, -1] -= ticks


def _usage(record: RequestRecord) -> tuple[float, float, float, float]:
    """Floats, as a server may say any number."""
    return (
        float(record.prompt_tokens or 0),
        float(record.cached_tokens or 0),
        float(record.completion_tokens or 0),
        float(record.reasoning_tokens or 0),
    )


def _ticks(usd: str) -> int:
    return int(Decimal(usd) * TICKS_PER_USD)


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
