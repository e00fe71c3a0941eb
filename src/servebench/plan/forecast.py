"""Forecast: what a run would send, before anything is sent: requests over time, tokens, bytes, and dollars.

worst   the sum of the requests' bounds (cost/bound.py): nothing cached, every limit reached, reasoning at a
        stated bound because no limit covers it, each sent again as often as it may be
likely  cached as the ideal cache has it, limits reached, reasoning at the mean of the tier's modelled draw
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from servebench.catalog.prices import PriceSheet
from servebench.catalog.tiers import Tier
from servebench.cost.bill import token_charges, usd_text
from servebench.cost.bound import UNKNOWN_OUTPUT_TOKENS, Bounds
from servebench.workload.moments import gap_cv, index_of_dispersion
from servebench.workload.plan import Workload
from servebench.workload.planned import Planned, planned
from servebench.workload.sessions import join_id

Ints = NDArray[np.int64]

ALL = "all"
CLOSED_SAMPLE = 1000  # requests of a closed loop, which has no number of its own
_BODIES = 400  # whose bytes are looked at; the sum is scaled
_BINS = 12
_WINDOWS_S = (1.0, 10.0, 60.0)  # in which counts are compared with a Poisson process's


@dataclass(frozen=True, slots=True)
class Counts:
    """How a count spreads over requests; sum is of all of them."""

    p50: int
    p90: int
    p99: int
    max: int
    sum: int

    @classmethod
    def of(cls, values: Ints, *, scale: float = 1.0) -> "Counts":
        if not len(values):
            return cls(0, 0, 0, 0, 0)
        ordered = np.sort(values)
        p50, p90, p99 = (int(ordered[math.ceil(q * len(ordered)) - 1]) for q in (0.5, 0.9, 0.99))
        return cls(p50, p90, p99, int(ordered[-1]), round(int(ordered.sum()) * scale))

    def to_json(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class ClassForecast:
    """requests counts all calls, arrivals those that begin one (of sessions: sessions). Dollars as exact
    text, None without a price. output_tokens are limits, the tier's own where none is set (unlimited
    counts those).
    """

    arrivals: int
    requests: int
    prompt_tokens: Counts
    output_tokens: Counts
    unlimited: int
    cache_share: float
    body_bytes: Counts
    likely_usd: str | None
    worst_usd: str | None

    def to_json(self) -> dict[str, Any]:
        row = {name: getattr(self, name) for name in self.__slots__}
        return {name: v.to_json() if isinstance(v, Counts) else v for name, v in row.items()}


@dataclass(frozen=True, slots=True)
class TraceForecast:
    """A trace by its own lengths, before preamble and tools raise some of them. skipped: rows left out of the
    whole file. cache_share: of its input tokens those in leading blocks that an earlier prompt had, None
    where it names no blocks.
    """

    name: str
    skipped: int
    input_tokens: Counts
    output_tokens: Counts
    block_tokens: int | None
    cache_share: float | None

    def to_json(self) -> dict[str, Any]:
        row = {name: getattr(self, name) for name in self.__slots__}
        return {name: v.to_json() if isinstance(v, Counts) else v for name, v in row.items()}


@dataclass(frozen=True, slots=True)
class Forecast:
    """gap_cv and dispersion (window_s, index) are those of the arrivals (workload/moments.py).

    rate_bins: (from_s, to_s, arrivals/s, prompt tokens/s) over the run; () for a closed loop, whose classes
    are of its first CLOSED_SAMPLE requests. reasoning_bound_tokens by class; bound_source: whose word it is;
    prompt_stretch: how much longer a prompt is taken to be where the tokenizer is not known.
    """

    scenario: str
    model: str
    mode: str
    seed: int
    duration_s: float
    warmup_s: float
    users: int | None
    schedule_hash: str
    classes: Mapping[str, ClassForecast]
    peak_rps: float
    gap_cv: float | None
    dispersion: tuple[tuple[float, float | None], ...]
    trace: TraceForecast | None
    rate_bins: tuple[tuple[float, float, float, float], ...]
    stated_cache_share: float | None
    reasoning_bound_tokens: Mapping[str, int]
    bound_source: str | None
    prompt_stretch: float
    price_date: str | None
    price_kind: str | None
    notes: tuple[str, ...]

    @property
    def mean_rps(self) -> float | None:
        return self.classes[ALL].arrivals / self.duration_s if self.mode == "open" else None

    def to_json(self) -> dict[str, Any]:
        shown = {name: getattr(self, name) for name in self.__slots__ if name != "rate_bins"}
        bins = [
            dict(zip(("from_s", "to_s", "rps", "prompt_tokens_per_s"), row, strict=True))
            for row in self.rate_bins
        ]
        return {
            "schema": 1,
            **shown,
            "mean_rps": self.mean_rps,
            "dispersion": [{"window_s": window_s, "index": index} for window_s, index in self.dispersion],
            "trace": None if self.trace is None else self.trace.to_json(),
            "rate_over_time": bins,
            "classes": {name: one.to_json() for name, one in self.classes.items()},
            "reasoning_bound_tokens": dict(self.reasoning_bound_tokens),
            "notes": list(self.notes),
        }


def forecast(workload: Workload, *, tier: Tier | None, bounds: Bounds | None, retries: int = 0) -> Forecast:
    """tier: the catalog's, None for a model that it does not have; bounds: None without a price.

    retries: how often each request may be sent again.
    """
    rows = planned(workload, count=None if workload.mode == "open" else CLOSED_SAMPLE)
    peak_rps, bins = _over_time(workload, rows)
    plan = workload.plan
    own_shares = plan.trace is None and plan.prompts is None
    sheet = None if bounds is None else bounds.sheet
    return Forecast(
        scenario=plan.scenario.name, model=workload.model, mode=workload.mode, seed=plan.seed,
        duration_s=workload.duration_s, warmup_s=workload.warmup_s, users=workload.users,
        schedule_hash=workload.schedule_hash, classes=_classes(workload, rows, tier, bounds, retries),
        peak_rps=peak_rps, gap_cv=gap_cv(workload.intended_ns), dispersion=_dispersion(workload),
        trace=_trace(workload), rate_bins=bins,
        stated_cache_share=plan.scenario.cache_share if own_shares else None,
        reasoning_bound_tokens=_reasoning_bounds(workload, bounds),
        bound_source=None if bounds is None else bounds.terms.source,
        prompt_stretch=1.0 if bounds is None else bounds.terms.stretch,
        price_date=None if sheet is None else sheet.as_of,
        price_kind=None if sheet is None else sheet.source.kind,
        notes=workload.notes,
    )  # fmt: skip


def _dispersion(workload: Workload) -> tuple[tuple[float, float | None], ...]:
    if workload.mode != "open":
        return ()
    starts, duration_s = workload.intended_ns, workload.duration_s
    return tuple((w, index_of_dispersion(starts, window_s=w, duration_s=duration_s)) for w in _WINDOWS_S)


def _trace(workload: Workload) -> TraceForecast | None:
    trace, blocks = workload.plan.trace, workload.trace_blocks
    if trace is None:
        return None
    columns = workload.columns()
    return TraceForecast(
        name=trace.name,
        skipped=trace.skipped,
        input_tokens=Counts.of(columns.asked_tokens),
        output_tokens=Counts.of(columns.output_tokens),
        block_tokens=None if blocks is None else blocks.block_tokens,
        cache_share=None if blocks is None else blocks.hit_share(columns.asked_tokens),
    )


def _reasoning_bounds(workload: Workload, bounds: Bounds | None) -> dict[str, int]:
    if bounds is None:
        return {}
    return {cls.name: bounds.reasoning_tokens(cls.reasoning_effort) for cls in workload.classes}


def _worst(workload: Workload, rows: Planned, bounds: Bounds | None, retries: int) -> Ints | None:
    """Ticks of each request at its bound."""
    if bounds is None:
        return None
    reasoning = np.array(list(_reasoning_bounds(workload, bounds).values()), dtype=np.int64)
    tools = np.array([bool(cls.tools) for cls in workload.classes])
    index = rows.class_index
    ticks = bounds.of_many(rows.prompt_tokens, rows.output_tokens, reasoning[index], tools=tools[index])
    return ticks * (1 + retries)


def _classes(
    workload: Workload, rows: Planned, tier: Tier | None, bounds: Bounds | None, retries: int
) -> dict[str, ClassForecast]:
    names = [cls.name for cls in workload.classes]
    limit = _limits(workload, rows, tier)
    worst = _worst(workload, rows, bounds, retries)
    means = np.array([reasoning_mean(tier, cls.reasoning_effort) for cls in workload.classes], dtype=np.int64)
    likely = _ticks(rows, limit, means[rows.class_index], None if bounds is None else bounds.sheet)
    looked, sizes = _body_bytes(workload, rows)
    classes = {}
    for number, name in enumerate((ALL, *names), -1):
        own = rows.class_index == number if number >= 0 else np.ones(len(rows), dtype=np.bool_)
        mine = sizes[own[looked]]
        classes[name] = ClassForecast(
            arrivals=int(np.count_nonzero(own & (rows.call == 0))),
            requests=int(np.count_nonzero(own)),
            prompt_tokens=Counts.of(rows.prompt_tokens[own]),
            output_tokens=Counts.of(limit[own]),
            unlimited=int(np.count_nonzero(rows.output_tokens[own] < 0)),
            cache_share=rows.cache_share(own),
            body_bytes=Counts.of(mine, scale=np.count_nonzero(own) / max(len(mine), 1)),
            likely_usd=_usd(likely, own),
            worst_usd=_usd(worst, own),
        )
    return classes


def _usd(ticks: Ints | None, rows: NDArray[np.bool_]) -> str | None:
    return None if ticks is None else usd_text(int(ticks[rows].sum()))


def reasoning_mean(tier: Tier | None, effort: str | None) -> int:
    """Tokens that a request reasons for in the mean; 0 where the tier or the effort is not known."""
    if tier is None:
        return 0
    median = tier.reasoning_tokens.get(effort or tier.default_reasoning_effort, 0.0)
    return round(median * math.exp(tier.reasoning_tokens_sigma**2 / 2))


def _limits(workload: Workload, rows: Planned, tier: Tier | None) -> Ints:
    unset = tier.default_max_output_tokens if tier else UNKNOWN_OUTPUT_TOKENS
    room = np.maximum(workload.plan.context_length_tokens - rows.prompt_tokens, 1)
    return np.minimum(np.where(rows.output_tokens < 0, unset, rows.output_tokens), room)


def _ticks(rows: Planned, visible: Ints, reasoning: Ints, sheet: PriceSheet | None) -> Ints | None:
    """Of each request with its ideal cache hits."""
    if sheet is None:
        return None
    counts = (rows.prompt_tokens, rows.cached_tokens, visible, reasoning)
    parts = token_charges(counts, sheet, service_tier=None)
    return parts[0] + parts[1] + parts[2] + parts[3]


def _body_bytes(workload: Workload, rows: Planned) -> tuple[Ints, Ints]:
    """Row numbers, evenly spread, and the bytes of their bodies."""
    looked = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), _BODIES)).astype(np.int64))
    ids = zip(rows.arrival[looked].tolist(), rows.call[looked].tolist(), strict=True)
    return looked, np.array([len(workload.body(join_id(a, c))) for a, c in ids], dtype=np.int64)


def _over_time(
    workload: Workload, rows: Planned
) -> tuple[float, tuple[tuple[float, float, float, float], ...]]:
    """The busiest second's arrivals, and the bins; later calls of sessions have no time of their own yet."""
    if workload.mode != "open":
        return 0.0, ()
    start_s = workload.intended_ns / 1e9
    prompt = rows.prompt_tokens[rows.call == 0]
    peak = int(np.bincount(start_s.astype(np.int64)).max(initial=0))
    edges = np.linspace(0, workload.duration_s, _BINS + 1)
    counts, tokens = (np.histogram(start_s, edges, weights=weight)[0] for weight in (None, prompt))
    width_s = workload.duration_s / _BINS
    return float(peak), tuple(
        (float(edges[k]), float(edges[k + 1]), float(counts[k]) / width_s, float(tokens[k]) / width_s)
        for k in range(_BINS)
    )
