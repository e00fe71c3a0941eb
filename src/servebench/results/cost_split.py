"""The dollars of a run: exact sums of what its records carry, and their split into the parts of the bill, by
whose word they are, and by what they were good for.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from operator import attrgetter
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
from servebench.results.amounts import exact_ticks, ticks_of
from servebench.results.columns import OUTCOMES, Columns, coded
from servebench.results.money import Cost, plain

COMPONENTS = ("input", "cached_input", "output", "reasoning", "tool", "retry")
UNEXPLAINED = "unexplained"
_TOOL, _RETRY = COMPONENTS.index("tool"), COMPONENTS.index("retry")
_cost_of, _source_of, _retry_of, _tools_of = map(
    attrgetter, ("cost_usd", "cost_source", "retry_cost_usd", "server_tools")
)
_kind_of = attrgetter("model", "service_tier")  # by which a price is found
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
        texts, retries = list(map(_cost_of, records)), list(map(_retry_of, records))
        ticks, below = ticks_of(texts)
        known = np.array([text is not None for text in texts], dtype=bool)
        source, sources = coded([name or "unknown" for name in map(_source_of, records)])
        retry = np.zeros(len(records), dtype=np.int64)
        for row, text in enumerate(retries):
            if text is not None and known[row]:
                retry[row] = exact_ticks(text)[0]
        return cls(ticks, below, known, source, sources, retry)

    def total_ticks(self, rows: NDArray[np.bool_]) -> Decimal:
        """The exact sum over the rows, of their last attempts."""
        whole = Decimal(_sum(self.ticks[rows]))
        return sum((part for row, part in self.below.items() if rows[row]), whole)


def component_rows(
    records: Sequence[RequestRecord], columns: Columns, price_of: PriceOf, *, costs: Costs | None = None
) -> NDArray[np.int64]:
    """Each record's cost by component, in ticks, one row a record: COMPONENTS, then what of its cost the
    price sheet does not explain. Zeros: free, or no cost known. columns, and costs where they are made
    already: of the records.
    """
    rows = np.zeros((len(records), len(COMPONENTS) + 1), dtype=np.int64)
    costs = Costs.of(records) if costs is None else costs
    rows[:, -1], rows[:, _RETRY] = costs.ticks, costs.retry
    told = (costs.ticks != 0) & columns.by_usage & ~np.isnan(columns.numbers["prompt_tokens"])
    code, kinds = coded(list(map(_kind_of, records)))
    tools = {row: made for row, made in enumerate(map(_tools_of, records)) if made}
    for kind, (model, tier) in enumerate(kinds):
        positions = np.flatnonzero(told & (code == kind))
        sheet = price_of(model) if len(positions) else None
        if sheet is not None:
            _split(rows, _usage(columns, positions), positions, sheet, tier)
            used = {row: made for row, made in tools.items() if told[row] and code[row] == kind}
            _charge_tools(rows, used, sheet)
    return rows


def _charge_tools(rows: NDArray[np.int64], tools: Mapping[int, Mapping[str, int]], sheet: PriceSheet) -> None:
    """Move the fees of tools that the server used, where the sheet has them, from the unexplained. tools: by
    row.
    """
    for row, made in tools.items():
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


def _usage(columns: Columns, positions: NDArray[np.int64]) -> NDArray[np.float64]:
    """Prompt, cached, completion and reasoning tokens; floats, as a server may say any number."""
    return np.stack([np.nan_to_num(columns.numbers[name][positions]) for name in _USAGE], axis=1)


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
