"""LiveStats: what the live table and the Prometheus endpoint show while a run goes on, in constant memory.

add() costs the measuring process one append; take() bins what came since the last take() with numpy and
returns it as a delta of plain ints and lists, which merge() adds up elsewhere. All counts are integers, so
any partition of the records over workers, merged in any order, gives the same.
"""

from array import array
from bisect import insort
from collections.abc import Mapping, Sequence
from typing import Any, Union

import numpy as np
from numpy.typing import NDArray

from servebench.meter.record import RequestRecord
from servebench.results.chunk_times import ChunkTimes
from servebench.results.columns import OUTCOMES, Columns
from servebench.results.histogram import LogHistogram
from servebench.results.slo import Goodput, Slo

Times = Union["array[int]", NDArray[np.int32]]  # array takes no | at run time
TOKEN_TYPES = ("input", "cached_input", "output", "reasoning")
TOKEN_SOURCES = ("usage", "counted")
COST_COMPONENTS = ("input", "cached_input", "output", "reasoning", "tool", "retry")
HISTOGRAMS = ("ttft", "ttfvt", "itl", "tpot", "e2e", "client_lag")
_COUNTS = ("chunks", "coalesced", "missing_stamps", "goodput_good", "goodput_offered")

# seconds; any token rate from 0.2 to 2,000 tokens/s/user is told apart
_TTFT_EDGES = (
    .001, .0025, .005, .01, .02, .04, .06, .08, .1, .15, .2, .25, .3, .4, .5, .75, 1, 1.5, 2.5, 5, 7.5, 10,
    20, 40, 80, 160, 640,
)  # fmt: skip
_ITL_EDGES = (
    .0005, .001, .0025, .005, .0075, .01, .015, .02, .025, .03, .04, .05, .075, .1, .15, .2, .3, .4, .5, .75,
    1, 2.5, 5,
)  # fmt: skip
_E2E_EDGES = tuple(round(0.01 * 2**power, 2) for power in range(16))
EDGES_S: Mapping[str, tuple[float, ...]] = {
    "ttft": _TTFT_EDGES,
    "ttfvt": _TTFT_EDGES,
    "itl": _ITL_EDGES,
    "tpot": _ITL_EDGES,
    "e2e": _E2E_EDGES,
    "client_lag": _TTFT_EDGES,
}


def bucket_edges(metric: str, slos: Sequence[Slo] = (), goodput: Goodput | None = None) -> list[float]:
    """Upper bounds (s) of a metric's buckets; every limit set for it is one: a dashboard reads it exactly."""
    edges = [float(edge) for edge in EDGES_S[metric]]
    limits = [slo.limit for slo in slos if slo.metric == metric and not slo.limit_s_per_prompt_token]
    limits += [limit for name, limit in (goodput.all_limits_s if goodput else ()) if name == metric]
    for limit in limits:
        if limit not in edges:
            insort(edges, limit)
    return edges


class _Histogram:
    """One metric: Prometheus bucket counts (not cumulative, the last is over every edge) and the log one."""

    def __init__(self, edges: Sequence[float]) -> None:
        self.edges = list(edges)
        self.counts = np.zeros(len(self.edges) + 1, dtype=np.int64)
        self.sum_ns = 0
        self.log = LogHistogram()

    def add(self, values_s: "np.ndarray[Any, np.dtype[np.float64]]") -> None:
        values_s = values_s[~np.isnan(values_s)]
        places = np.searchsorted(
            self.edges, values_s, side="left"
        )  # an edge belongs to its own bucket ("le")
        self.counts += np.bincount(places, minlength=len(self.counts))
        self.sum_ns += int(np.rint(values_s[np.isfinite(values_s)] * 1e9).astype(np.int64).sum())
        self.log.add(values_s)

    def delta(self) -> dict[str, Any]:
        return {
            "edges": self.edges,
            "counts": self.counts.tolist(),
            "sum_ns": self.sum_ns,
            "log": list(self.log.to_lists()),
        }

    def merge(self, delta: Mapping[str, Any]) -> None:
        if list(delta["edges"]) != self.edges:
            raise ValueError("deltas of different SLOs can't be merged: their bucket edges differ")
        self.counts += np.asarray(delta["counts"], dtype=np.int64)
        self.sum_ns += int(delta["sum_ns"])
        self.log.merge_lists(*delta["log"])


class _Totals:
    """Everything that is counted; the shape of a delta."""

    def __init__(self, slos: Sequence[Slo], goodput: Goodput | None) -> None:
        self.outcomes = {outcome.value: 0 for outcome in OUTCOMES}
        self.tokens = {kind: dict.fromkeys(TOKEN_SOURCES, 0) for kind in TOKEN_TYPES}
        self.cost_ticks = dict.fromkeys(COST_COMPONENTS, 0)
        self.slo = {slo.text: {"good": 0, "offered": 0} for slo in slos}
        self.counts = dict.fromkeys(_COUNTS, 0)
        self.histograms = {metric: _Histogram(bucket_edges(metric, slos, goodput)) for metric in HISTOGRAMS}

    def delta(self) -> dict[str, Any]:
        return {
            "outcomes": dict(self.outcomes),
            "tokens": {kind: dict(by_source) for kind, by_source in self.tokens.items()},
            "cost_ticks": dict(self.cost_ticks),
            "slo": {text: dict(counts) for text, counts in self.slo.items()},
            "counts": dict(self.counts),
            "histograms": {metric: histogram.delta() for metric, histogram in self.histograms.items()},
        }

    def merge(self, delta: Mapping[str, Any]) -> None:
        _add(self.outcomes, delta["outcomes"])
        _add(self.cost_ticks, delta["cost_ticks"])
        _add(self.counts, delta["counts"])
        for kind, by_source in delta["tokens"].items():
            _add(self.tokens.setdefault(kind, {}), by_source)
        for text, counts in delta["slo"].items():
            _add(self.slo.setdefault(text, {"good": 0, "offered": 0}), counts)
        for metric, histogram in delta["histograms"].items():
            self.histograms[metric].merge(histogram)


class LiveStats:
    """Totals of a run so far: this process's own records, and the deltas of others."""

    def __init__(self, slos: Sequence[Slo] = (), goodput: Goodput | None = None) -> None:
        self._slos, self._goodput = tuple(slos), goodput
        self._totals = _Totals(self._slos, goodput)
        self._pending: list[tuple[RequestRecord, Times, Mapping[str, int]]] = []

    def add(
        self,
        record: RequestRecord,
        chunk_us: Times,
        *,
        cost_ticks: Mapping[str, int] | None = None,
    ) -> None:
        """One finished request. cost_ticks: its bill by component (1 USD = 10^10 ticks)."""
        self._pending.append((record, chunk_us, cost_ticks or {}))

    def take(self) -> dict[str, Any]:
        """What came since the last take(), as a delta; it is in this object's totals from now on."""
        pending, self._pending = self._pending, []
        records = [record for record, _, _ in pending]
        columns = Columns.of(records, ChunkTimes.of([chunk_us for _, chunk_us, _ in pending]))
        ticks: dict[str, int] = {}
        for _, _, cost_ticks in pending:
            _add(ticks, cost_ticks)
        return self.take_columns(columns, ticks)

    def take_columns(self, columns: Columns, cost_ticks: Mapping[str, int]) -> dict[str, Any]:
        """take() of these records and their whole bill by component, instead of those that were added."""
        fresh = _Totals(self._slos, self._goodput)
        if len(columns):
            self._count(fresh, columns)
            _add(fresh.cost_ticks, cost_ticks)
        delta = fresh.delta()
        self._totals.merge(delta)
        return delta

    def merge(self, delta: Mapping[str, Any]) -> None:
        """Add another LiveStats' delta. Raises ValueError where it was made for other SLOs."""
        self._totals.merge(delta)

    def snapshot(self) -> dict[str, Any]:
        """Totals for a live table: outcomes, tokens by type, cost_ticks, slo, counts; quantiles in seconds.

        quantiles: {metric: {"p50", "p95", "p99", "n"}}, None where there is no value yet; within 0.39 %.
        """
        totals = self._totals
        return {
            "outcomes": dict(totals.outcomes),
            "tokens": {kind: sum(by_source.values()) for kind, by_source in totals.tokens.items()},
            "cost_ticks": sum(totals.cost_ticks.values()),
            "slo": {text: dict(counts) for text, counts in totals.slo.items()},
            "counts": dict(totals.counts),
            "quantiles": {
                metric: {
                    **{
                        name: histogram.log.quantile(p)
                        for name, p in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
                    },
                    "n": histogram.log.n,
                }
                for metric, histogram in totals.histograms.items()
            },
        }

    def totals(self) -> dict[str, Any]:
        """The totals in the shape of a delta."""
        return self._totals.delta()

    def _count(self, fresh: _Totals, columns: Columns) -> None:
        for code, count in enumerate(np.bincount(columns.outcome, minlength=len(OUTCOMES)).tolist()):
            fresh.outcomes[OUTCOMES[code].value] = count
        for kind, values in columns.tokens().items():
            fresh.tokens[kind]["counted"] = int(values[columns.counted].sum())
            fresh.tokens[kind]["usage"] = int(values[~columns.counted].sum())
        for slo in self._slos:
            if slo.is_rate:
                continue
            good = columns.meets(slo, self._slos, self._goodput)
            fresh.slo[slo.text] = {"good": int(good.sum()), "offered": len(good)}
        good = columns.good(self._slos, self._goodput)
        fresh.counts = {
            "chunks": int(columns.numbers["chunks"].sum()),
            "coalesced": int(columns.numbers["coalesced"].sum()),
            "missing_stamps": int(columns.numbers["user_stamps"].sum()),
            "goodput_good": int(good.sum()),
            "goodput_offered": len(good),
        }
        for metric, histogram in fresh.histograms.items():
            histogram.add(columns.latency_s(metric))


def _add(totals: dict[str, int], more: Mapping[str, int]) -> None:
    for key, count in more.items():
        totals[key] = totals.get(key, 0) + count
