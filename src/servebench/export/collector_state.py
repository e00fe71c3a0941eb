"""What the collector knows of a run, and its form as Prometheus families. Updates in, families out; no I/O.

An update is a dict with any of these keys:

    labels   {"run_id", "scenario", "model", "target"}: once, first
    info     {"version", "seed", "price_date"}
    delta    what LiveStats.take() returned; added up
    gauges   {"in_flight", "users", "offered_rate_rps", "achieved_rate_rps", "budget_usd", "client_cpu_ratio"}
    phase    one of metric_names.PHASES
    retries, throttled_s   {reason: count}, {reason: seconds} since the last update
    loop_stalls_s          list of seconds since the last update
"""

import threading
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, islice
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from servebench import __version__
from servebench.export import metric_names as names
from servebench.meter.record import Outcome
from servebench.results.live import EDGES_S

TICKS_PER_USD = 10**10
TARGETS = ("mock", "xai", "other")  # a target's URL is never a label
ALL_LIMITS = "all"  # slo label: every limit of the run at once, what goodput counts
_RETRY_REASONS = ("http_429", "http_5xx", "connect_error")
_STALL_EDGES_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_MAX_EDGES = 60  # of one histogram: a limit past it keeps no bucket of its own
_RATE_WINDOW_S = 10.0

Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily


class _Series:
    """The children of one counter by one open label; at most MAX_VALUES beyond those known from the start."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        self.values: dict[str, float] = dict.fromkeys(known, 0)
        self._room = len(self.values) + names.MAX_VALUES
        self.folded = 0

    def add(self, label: str, amount: float) -> None:
        label = label[: names.MAX_LABEL_CHARS]
        if label not in self.values and len(self.values) >= self._room:
            label = names.OTHER
            self.folded += 1
        self.values[label] = self.values.get(label, 0) + amount


class _Buckets:
    """One histogram: counts between edges (not cumulative, the last is over every edge) and the sum."""

    def __init__(self, edges: Sequence[float]) -> None:
        self.standard = frozenset(edges)
        self.edges = list(edges)
        self.counts = [0] * (len(edges) + 1)
        self.sum_s = 0.0

    def add(self, edges: Sequence[float], counts: Sequence[int], sum_s: float) -> None:
        if list(edges) != self.edges:
            if any(self.counts):
                raise ValueError("the bucket edges of a metric changed during the run")
            self.edges, self.counts = list(edges), [0] * (len(edges) + 1)
        self.counts = [have + more for have, more in zip(self.counts, counts, strict=True)]
        self.sum_s += sum_s

    def cumulative(self) -> list[tuple[str, float]]:
        """(le, count) pairs up to +Inf; edges past _MAX_EDGES are left out, which loses no count."""
        extra = (edge for edge in self.edges if edge not in self.standard)
        shown = self.standard | set(islice(extra, max(_MAX_EDGES - len(self.standard), 0)))
        *inner, total = accumulate(self.counts)
        pairs = [
            (repr(float(edge)), count) for edge, count in zip(self.edges, inner, strict=True) if edge in shown
        ]
        return [*pairs, ("+Inf", total)]


class CollectorState(Collector):
    """Totals of a run; collect() gives every family of metric_names, each child present from the start.

    clock: monotonic seconds, for the achieved rate. apply() and collect() may run in different threads.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._labels = dict.fromkeys(names.RUN_LABELS, "")
        self._info = {"version": __version__, "seed": "", "price_date": ""}
        self._gauges: dict[str, float] = {}
        self._phase = names.PHASES[0]
        self._outcomes = _Series(outcome.value for outcome in Outcome)
        self._tokens = {source: _Series(names.TOKEN_TYPES) for source in names.TOKEN_SOURCES}
        self._cost_ticks = _Series(names.COST_COMPONENTS)
        self._slo = {"good": _Series([ALL_LIMITS]), "offered": _Series([ALL_LIMITS])}
        self._retries, self._throttled_s = _Series(_RETRY_REASONS), _Series(_RETRY_REASONS)
        self._histograms = {key: _Buckets([float(edge) for edge in EDGES_S[key]]) for key in names.LATENCIES}
        self._stalls = _Buckets(_STALL_EDGES_S)
        self._ended: deque[tuple[float, float]] = deque([(clock(), 0.0)])

    def apply(self, update: Mapping[str, Any]) -> None:
        """Take one update in. Raises ValueError or KeyError on one that no LiveStats made."""
        with self._lock:
            for key, value in update.get("labels", {}).items():
                self._labels[key] = str(value)[: names.MAX_LABEL_CHARS]
            if self._labels["target"] and self._labels["target"] not in TARGETS:
                self._labels["target"] = "other"
            self._info.update({key: str(value) for key, value in update.get("info", {}).items()})
            self._gauges.update(update.get("gauges", {}))
            phase = update.get("phase", self._phase)
            self._phase = phase if phase in names.PHASES else names.OTHER
            for reason, count in update.get("retries", {}).items():
                self._retries.add(reason, count)
            for reason, waited_s in update.get("throttled_s", {}).items():
                self._throttled_s.add(reason, waited_s)
            for stall_s in update.get("loop_stalls_s", ()):
                self._stalls.counts[bisect_left(self._stalls.edges, stall_s)] += 1
                self._stalls.sum_s += stall_s
            if "delta" in update:
                self._add_delta(update["delta"])

    def _add_delta(self, delta: Mapping[str, Any]) -> None:
        for outcome, count in delta["outcomes"].items():
            self._outcomes.add(outcome, count)
        for kind, by_source in delta["tokens"].items():
            for source, count in by_source.items():
                self._tokens[source].add(kind, count)
        for component, ticks in delta["cost_ticks"].items():
            self._cost_ticks.add(component, ticks)
        for text, counts in delta["slo"].items():
            for kind, series in self._slo.items():
                series.add(text, counts[kind])
        for kind, series in self._slo.items():
            series.add(ALL_LIMITS, delta["counts"][f"goodput_{kind}"])
        for metric, histogram in delta["histograms"].items():
            self._histograms[metric].add(histogram["edges"], histogram["counts"], histogram["sum_ns"] / 1e9)
        self._ended.append((self._clock(), self._ended_total()))

    def collect(self) -> Iterator[Family]:
        with self._lock:
            return iter([*self._counters(), *self._all_gauges(), *self._all_histograms()])

    def _ended_total(self) -> float:
        """Requests that were sent and ended, however they did."""
        return sum(self._outcomes.values.values()) - self._outcomes.values[Outcome.UNSENT.value]

    def _achieved_rate_rps(self) -> float:
        """Requests ended a second over the last _RATE_WINDOW_S, or since the start where that is later."""
        now_s = self._clock()
        while len(self._ended) > 1 and self._ended[1][0] <= now_s - _RATE_WINDOW_S:
            self._ended.popleft()
        since_s, before = self._ended[0]
        elapsed_s = min(now_s - since_s, _RATE_WINDOW_S)
        return (self._ended[-1][1] - before) / elapsed_s if elapsed_s > 0 else 0.0

    def _counters(self) -> Iterator[Family]:
        tokens: dict[tuple[str, ...], float] = {
            (kind, source): count
            for source, series in self._tokens.items()
            for kind, count in series.values.items()
        }
        usd = {component: ticks / TICKS_PER_USD for component, ticks in self._cost_ticks.values.items()}
        folded = {
            "outcome": self._outcomes.folded,
            "type": sum(series.folded for series in self._tokens.values()),
            "component": self._cost_ticks.folded,
            "slo": self._slo["offered"].folded,
            "reason": self._retries.folded + self._throttled_s.folded,
        }
        yield self._family(names.REQUESTS, _by_one(self._outcomes.values))
        yield self._family(names.TOKENS, tokens)
        yield self._family(names.COST, _by_one(usd))
        yield self._family(names.SLO_GOOD, _by_one(self._slo["good"].values))
        yield self._family(names.SLO_OFFERED, _by_one(self._slo["offered"].values))
        yield self._family(names.RETRIES, _by_one(self._retries.values))
        yield self._family(names.THROTTLED, _by_one(self._throttled_s.values))
        yield self._family(names.LABEL_OVERFLOW, _by_one(folded))

    def _all_gauges(self) -> Iterator[Family]:
        for key, metric in names.GAUGES.items():
            value = self._gauges.get(key)
            if value is None:
                value = self._achieved_rate_rps() if key == "achieved_rate_rps" else 0.0
            yield self._family(metric, {(): value})
        yield self._family(names.RUN_INFO, {tuple(self._info[label] for label in names.RUN_INFO.labels): 1})
        phases = dict.fromkeys(names.PHASES, 0) | {self._phase: 1}
        yield self._family(names.PHASE_INFO, _by_one(phases))

    def _all_histograms(self) -> Iterator[Family]:
        histograms = [(metric, self._histograms[key]) for key, metric in names.LATENCIES.items()]
        for metric, buckets in [*histograms, (names.LOOP_STALL, self._stalls)]:
            family = HistogramMetricFamily(metric.name, metric.help, labels=names.RUN_LABELS)
            family.add_metric(list(self._labels.values()), buckets.cumulative(), buckets.sum_s)
            yield family

    def _family(self, metric: names.Metric, children: Mapping[tuple[str, ...], float]) -> Family:
        kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
        family = kind(metric.name, metric.help, labels=(*names.RUN_LABELS, *metric.labels))
        for values, value in children.items():
            family.add_metric([*self._labels.values(), *values], value)
        return family


def _by_one(values: Mapping[str, float]) -> dict[tuple[str, ...], float]:
    return {(label,): value for label, value in values.items()}
