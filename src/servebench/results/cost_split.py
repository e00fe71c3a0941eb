"""The dollars of a run: exact sums of what its records carry, and their split into the parts of the bill, by
whose word they are, and by what they were good for.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from servebench.catalog.load import load_catalog
from servebench.catalog.prices import TICKS_PER_USD, PriceSheet
from servebench.catalog.sheet_json import sheet_from_json
from servebench.cost.bill import BillError, token_charges, usd_text
from servebench.cost.usage import tool_calls
from servebench.errors import UsageError
from servebench.meter.record import Outcome, RequestRecord
from servebench.results.columns import OUTCOMES, Columns
from servebench.results.money import Cost, plain

COMPONENTS = ("input", "cached_input", "output", "reasoning", "tool", "retry")
UNEXPLAINED = "unexplained"
_TOOL, _RETRY = COMPONENTS.index("tool"), COMPONENTS.index("retry")
_TICK_DIGITS = 10
_POWERS = tuple(10**n for n in range(_TICK_DIGITS + 1))
_USAGE = ("prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens")
_MOST_TOKENS = 2**40  # more is no usage, and its ticks would not fit 63 bits

PriceOf = Callable[[str], PriceSheet | None]


def catalog_price(model: str) -> PriceSheet | None:
    """The catalog's sheet of a model; None where nobody has published one."""
    try:
        return load_catalog().price(model)
    except UsageError:
        return None


def manifest_price(manifest: Mapping[str, Any]) -> PriceOf:
    """The sheet that billed the run, for its model; the catalog's for any other, and for older runs."""
    row, model = manifest.get("price_sheet"), manifest.get("model")
    sheet = None if row is None else sheet_from_json(row)
    return lambda name: sheet if sheet is not None and name == model else catalog_price(name)


@dataclass(frozen=True, slots=True)
class Costs:
    """What each record says it cost. ticks: whole ones (0 where unknown); below: what is less than one, by
    row; source: index into sources, of those whose cost is known; retry: of attempts before the last, which
    ticks is of.
    """

    ticks: NDArray[np.int64]
    below: dict[int, Decimal]
    known: NDArray[np.bool_]
    source: NDArray[np.int64]
    sources: tuple[str, ...]
    retry: NDArray[np.int64]

    @classmethod
    def of(cls, records: Sequence[RequestRecord]) -> "Costs":
        ticks = np.zeros(len(records), dtype=np.int64)
        below: dict[int, Decimal] = {}
        known = np.zeros(len(records), dtype=bool)
        source = np.zeros(len(records), dtype=np.int64)
        retry = np.zeros(len(records), dtype=np.int64)
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
            if record.retry_cost_usd is not None:
                retry[row] = _ticks(record.retry_cost_usd)[0]
        return cls(ticks, below, known, source, tuple(codes), retry)

    def total_ticks(self, rows: NDArray[np.bool_]) -> Decimal:
        """The exact sum over the rows, of their last attempts."""
        whole = Decimal(_sum(self.ticks[rows]))
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
    costs = Costs.of(records) if costs is None else costs
    rows[:, -1], rows[:, _RETRY] = costs.ticks, costs.retry
    alike: dict[tuple[str, str | None], list[int]] = {}
    for position, (record, total) in enumerate(zip(records, rows[:, -1].tolist(), strict=True)):
        if total and record.usage_source == "usage" and record.prompt_tokens is not None:
            alike.setdefault((record.model, record.service_tier), []).append(position)
    for (model, tier), positions in alike.items():
        sheet = price_of(model)
        if sheet is not None:
            _split(rows, _usage(records, np.array(positions), columns), np.array(positions), sheet, tier)
            _charge_tools(rows, records, positions, sheet)
    return rows


def _charge_tools(
    rows: NDArray[np.int64], records: Sequence[RequestRecord], positions: Sequence[int], sheet: PriceSheet
) -> None:
    """Move the fees of tools that the server used, where the sheet has them, from the unexplained."""
    for row in positions:
        made = records[row].server_tools
        if made:
            fee = sum(sheet.tool_ticks.get(tool, 0) * calls for tool, calls in tool_calls(made).items())
            rows[row, _TOOL] = fee
            rows[row, -1] -= fee


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
    *,
    good: NDArray[np.bool_],
) -> Cost:
    """Sum and split of these rows. components: of component_rows; None: no split. good: of all rows, whether
    they met every limit.
    """
    known = costs.known & rows
    sent = ~np.isnan(columns.numbers["sent_ns"])
    unknown = int(np.count_nonzero(rows & ~costs.known & sent))
    counts = np.bincount(costs.source[known], minlength=len(costs.sources)).tolist()
    sources = {name: count for name, count in zip(costs.sources, counts, strict=True) if count}
    aborted = columns.outcome == OUTCOMES.index(Outcome.ABORTED)
    retries = Decimal(_sum(costs.retry[known]))
    checked = differing = np.zeros(len(rows), dtype=bool)
    if components is not None and "billed" in costs.sources:
        billed = known & (costs.source == costs.sources.index("billed"))
        checked = billed & components[:, :_RETRY].any(axis=1)
        differing = checked & (components[:, -1] != 0)
    with localcontext(prec=60):

        def usd(mask: NDArray[np.bool_]) -> Decimal:
            return costs.total_ticks(mask) / TICKS_PER_USD

        return Cost(
            usd=usd(known) + retries / TICKS_PER_USD if sources or not unknown else None,
            wasted={
                "failed": usd(known & ~columns.ok & ~aborted),
                "censored": usd(known & aborted),
                "retries": retries / TICKS_PER_USD,
                "slo_miss": usd(known & columns.ok & ~good),
            },
            component_usd={} if components is None else _named(components[rows].sum(axis=0).tolist()),
            sources=dict(sorted(sources.items())),
            by_source_usd={
                name: plain(usd(known & (costs.source == costs.sources.index(name))))
                for name in sorted(sources)
            },
            unknown=unknown,
            requests=int(np.count_nonzero(known & sent)),
            good=int(np.count_nonzero(rows & good)),
            checked=int(np.count_nonzero(checked)),
            differing=int(np.count_nonzero(differing)),
            difference_usd=Decimal(0)
            if components is None
            else Decimal(_sum(components[differing, -1])) / TICKS_PER_USD,
        )


def _sum(ticks: NDArray[np.int64]) -> int:
    """Exact, also where 63 bits would not hold it."""
    small = not len(ticks) or int(np.abs(ticks).max()) < 2**62 // len(ticks)
    return int(ticks.sum()) if small else sum(ticks.tolist())


def _named(ticks: list[int]) -> dict[str, str]:
    found = {name: usd_text(part) for name, part in zip(COMPONENTS, ticks[:-1], strict=True)}
    return {**found, UNEXPLAINED: usd_text(ticks[-1])} if ticks[-1] else found
