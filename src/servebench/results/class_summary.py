"""ClassSummary: the figures of one request class, or of all.

Counts, tokens and dollars are of the whole run, warm-up included; rates, percentiles, goodput and attainment
of the steady window. Completions and output tokens a second count what came inside it, whenever it was asked
for, so a short run without warm-up shows fewer completions than arrivals.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from servebench.results.columns import OUTCOMES, Columns
from servebench.results.facts import Objectives
from servebench.results.money import Cost, per_million
from servebench.results.percentiles import Distribution, ascending_s, distribution, of_sorted
from servebench.results.steady_state import Window

_LATE_NS = 10e6  # an arrival at the very end may be sent as late as a valid run allows
LATENCIES = ("ttft", "ttfvt", "tpot", "itl", "e2e", "client_lag", "service_ttft")


@dataclass(frozen=True, slots=True)
class ClassSummary:
    """offered = completed + failed. tokens are disjoint. latency_s by metric (samples: see Columns).

    offered_rps: planned arrivals; achieved_rps: those of them sent in time; completed_rps: successes.

    None: undefined (an empty window, no known price).
    """

    offered: int
    completed: int
    failed: int
    outcomes: dict[str, int]
    window_offered: int
    offered_rps: float | None
    achieved_rps: float | None
    completed_rps: float | None
    goodput_rps: float | None
    attainment: float | None
    output_tokens_per_s: float | None
    mean_in_flight: float | None
    latency_s: dict[str, Distribution]
    tokens: dict[str, int]
    cost: Cost

    @property
    def total_tokens(self) -> int:
        return sum(self.tokens.values())

    @property
    def usd_per_million_tokens(self) -> str | None:
        return per_million(self.cost.usd, self.total_tokens)

    def to_json(self) -> dict[str, Any]:
        """One value of "classes" in summary.json."""
        return {
            "offered": self.offered,
            "completed": self.completed,
            "failed": self.failed,
            "offered_rps": self.offered_rps,
            "achieved_rps": self.achieved_rps,
            "completed_rps": self.completed_rps,
            "outcomes": self.outcomes,
            **{f"{metric}_s": distribution_json(self.latency_s[metric]) for metric in LATENCIES},
            "goodput_rps": self.goodput_rps,
            "attainment": self.attainment,
            "output_tokens_per_s": self.output_tokens_per_s,
            "mean_in_flight": self.mean_in_flight,
            "tokens": self.tokens,
            "usd_per_million_tokens": self.usd_per_million_tokens,
            **self.cost.to_json(self.tokens),
        }


def summarise_class(
    columns: Columns,
    chunk_share: NDArray[np.float64],
    *,
    window: Window,
    objectives: Objectives,
    cost: Cost,
) -> ClassSummary:
    """columns: the class's rows. chunk_share: of each row, the share of its chunks in the window."""
    inside = columns.select(window.contains(columns.numbers["intended_ns"]))
    span_s = window.duration_s
    tokens = columns.tokens()
    emitted = (tokens["output"] + tokens["reasoning"]) * chunk_share
    done_inside = columns.ok & window.contains(columns.numbers["last_token_ns"])
    good = inside.good(objectives.slos, objectives.goodput)
    codes = np.bincount(columns.outcome, minlength=len(OUTCOMES)).tolist()
    residence_s = window.overlap_s(columns.numbers["sent_ns"] - columns.opening_ns, columns.numbers["end_ns"])
    completed = int(columns.ok.sum())

    def rate(count: float) -> float | None:
        return float(count) / span_s if span_s > 0 else None

    return ClassSummary(
        offered=len(columns),
        completed=completed,
        failed=len(columns) - completed,
        outcomes={outcome.value: count for outcome, count in zip(OUTCOMES, codes, strict=True)},
        window_offered=len(inside),
        offered_rps=rate(len(inside)),
        achieved_rps=rate(float((inside.numbers["sent_ns"] < window.end_ns + _LATE_NS).sum())),
        completed_rps=rate(float(done_inside.sum())),
        goodput_rps=rate(float(good.sum())),
        attainment=float(good.mean()) if len(good) else None,
        output_tokens_per_s=rate(float(emitted.sum())),
        mean_in_flight=rate(float(residence_s.sum())),
        latency_s={metric: _latency(inside, metric) for metric in LATENCIES},
        tokens={kind: int(counts.sum()) for kind, counts in tokens.items()},
        cost=cost,
    )


def number_json(value: float | None) -> float | str | None:
    """+inf as "+Inf"; JSON has no word for it."""
    return "+Inf" if value is not None and math.isinf(value) else value


def _latency(inside: Columns, metric: str) -> Distribution:
    if metric == "itl":
        return of_sorted(ascending_s(inside.gaps_us))
    return distribution(inside.latency_s(metric))


def distribution_json(values: Distribution) -> dict[str, Any]:
    """p50, p95, p99 (null where n is too small), mean, n and the intervals."""
    named = (("p50", values.p50), ("p95", values.p95), ("p99", values.p99))
    return {
        **{name: None if one is None else number_json(one.value) for name, one in named},
        "mean": values.mean,
        "n": values.n,
        "ci95": {
            name: [number_json(one.low), number_json(one.high)] for name, one in named if one is not None
        },
    }
