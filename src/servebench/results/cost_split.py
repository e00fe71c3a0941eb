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
from servebench.results.columns import Columns

COMPONENTS = ("input", "cached_input", "output", "reasoning", "tool")
UNEXPLAINED = "unexplained"
_TICK_DIGITS = 10
_POWERS = tuple(10**n for n in range(_TICK_DIGITS + 1))
_USAGE = ("prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens")
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


@dataclass(frozen=True, slots=True)
class Costs:
    """What each record says it cost. ticks: whole ones (0 where unknown); below: what is less than one, by
    row; source: index into sources, of those whose cost is known.
    """

    ticks: NDArray[np.int64]
    below: dict[int, Decimal]
    known: NDArray[np.bool_]
    source: NDArray[np.int64]
    sources: tuple[str, ...]

    @classmethod
    def of(cls, records: Sequence[RequestRecord]) -> "Costs":
        ticks = np.zeros(len(records), dtype=np.int64)
        below: dict[int, Decimal] = {}
        known = np.zeros(len(records), dtype=bool)
        source = np.zeros(len(records), dtype=np.int64)
        codes: dict[str, int] = {}
        for row, record in enumerate(records):
            text = record.cost_usd
            if text is None:
                continue
            known[row] = True
            ticks[row], rest = _ticks(text)
            if rest:
                below[row] = rest
            source[row] = codes.setdefault(record.cost_source or "unknown", len(codes))
        return cls(ticks, below, known, source, tuple(codes))

    def total_ticks(self, rows: NDArray[np.bool_]) -> Decimal:
        """The exact sum over the rows."""
        whole = Decimal(sum(self.ticks[rows].tolist()))
        return sum((part for row, part in self.below.items() if rows[row]), whole)


def component_rows(
    records: Sequence[RequestRecord],
    price_of: PriceOf,
    *,
    costs: Costs | None = None,
    columns: Columns | None = None,
) -> NDArray[np.int64]:
    """Each record's cost by component, in ticks, one row a record: COMPONENTS, then what of its cost the
    price sheet does not explain. Zeros: free, or no cost known. costs, columns: of the records, where they
    are made already.
    """
    rows = np.zeros((len(records), len(COMPONENTS) + 1), dtype=np.int64)
    rows[:, -1] = (Costs.of(records) if costs is None else costs).ticks
    alike: dict[tuple[str, str | None], list[int]] = {}
    for position, (record, total) in enumerate(zip(records, rows[:, -1].tolist(), strict=True)):
        if total and record.usage_source == "usage" and record.prompt_tokens is not None:
            alike.setdefault((record.model, record.service_tier), []).append(position)
    for (model, tier), positions in alike.items():
        sheet = price_of(model)
        if sheet is not None:
            _split(rows, _usage(records, np.array(positions), columns), np.array(positions), sheet, tier)
    return rows


def _split(
    rows: NDArray[np.int64],
    used: NDArray[np.float64],
    positions: NDArray[np.int64],
    sheet: PriceSheet,
    tier: str | None,
) -> None:
    """Move what the sheet explains of these rows from the unexplained to its components."""
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


def _usage(
    records: Sequence[RequestRecord], positions: NDArray[np.int64], columns: Columns | None
) -> NDArray[np.float64]:
    """Prompt, cached, completion and reasoning tokens; floats, as a server may say any number."""
    if columns is not None:
        return np.stack([np.nan_to_num(columns.numbers[name][positions]) for name in _USAGE], axis=1)
    found = (records[position] for position in positions.tolist())
    return np.array([[float(getattr(record, name) or 0) for name in _USAGE] for record in found])


def _ticks(usd: str) -> tuple[int, Decimal | None]:
    """Whole ticks, and what is below one."""
    whole, _, part = usd.partition(".")
    digits = whole + part
    if len(part) <= _TICK_DIGITS and digits.isascii() and digits.isdigit():
        return int(digits) * _POWERS[_TICK_DIGITS - len(part)], None
    with localcontext(prec=60):
        exact = Decimal(usd) * TICKS_PER_USD
        return int(exact), exact - int(exact)


def cost_of(
    costs: Costs,
    rows: NDArray[np.bool_],
    columns: Columns,
    components: NDArray[np.int64] | None = None,
) -> Cost:
    """Sum and split of these rows. components: of component_rows; None: no split."""
    known = costs.known & rows
    unknown = int(np.count_nonzero(rows & ~costs.known & ~np.isnan(columns.numbers["sent_ns"])))
    counts = np.bincount(costs.source[known], minlength=len(costs.sources)).tolist()
    sources = {name: count for name, count in zip(costs.sources, counts, strict=True) if count}
    with localcontext(prec=60):
        return Cost(
            costs.total_ticks(known) / TICKS_PER_USD if sources or not unknown else None,
            costs.total_ticks(known & ~columns.ok) / TICKS_PER_USD,
            {} if components is None else _named(components[rows].sum(axis=0).tolist()),
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
