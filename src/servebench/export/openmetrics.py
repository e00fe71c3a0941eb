"""metrics.om: a finished run as OpenMetrics, under the names of the live endpoint, with timestamps.

The records are replayed into the collector's own state at up to MAX_POINTS instants, so that
`promtool tsdb create-blocks-from openmetrics` turns the file into what a Prometheus would have scraped. A
request counts from the instant at which it ended.

Histograms stand as their series (_bucket, _count, _sum), of type unknown: Prometheus stores the same, and the
parser of prometheus_client, which loses all but the first instant of a typed histogram, reads them too.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.registry import Collector

from servebench.export.collector_state import CollectorState
from servebench.results.cost_split import COMPONENTS, UNEXPLAINED, PriceOf, component_rows, manifest_price
from servebench.results.facts import Objectives, RunFacts
from servebench.results.files import write_bytes
from servebench.results.live import LiveStats
from servebench.results.run_directory import Run, read_run

FILE = "metrics.om"
MAX_POINTS = 120
_MIN_STEP_S = 1.0


def write_openmetrics(run_dir: Path, path: Path | None = None) -> Path:
    """Write metrics.om into the run directory, or `path`. Raises UsageError or OperationError."""
    target = Path(run_dir) / FILE if path is None else path
    write_bytes(target, openmetrics(read_run(run_dir)).encode())
    return target


def openmetrics(run: Run, price_of: PriceOf | None = None, *, objectives: Objectives | None = None) -> str:
    """The text, ending in `# EOF`. price_of, objectives None: the run's own."""
    registry = CollectorRegistry()
    registry.register(_Replayed(list(_replay(run, price_of, objectives or Objectives.of(run.manifest)))))
    text: str = generate_latest(registry).decode()  # type: ignore[no-untyped-call] # the package has none here
    return text


class _Replayed(Collector):
    """Families with the samples of every instant."""

    def __init__(self, points: list[tuple[float | None, list[Metric]]]) -> None:
        self._points = points

    def describe(self) -> list[Metric]:
        return []  # registering must not consume the replay

    def collect(self) -> Iterator[Metric]:
        merged: dict[str, Metric] = {}
        for at_s, families in self._points:
            for family in families:
                for sample in family.samples:
                    histogram = family.type == "histogram"
                    name, kind = (sample.name, "unknown") if histogram else (family.name, family.type)
                    into = merged.setdefault(name, Metric(name, family.documentation, kind))
                    into.samples.append(sample._replace(timestamp=at_s))
        for family in merged.values():
            # all instants of one series together, as the format asks; a stable sort keeps them in order
            family.samples.sort(key=lambda sample: sorted(sample.labels.items()))
            yield family


def _replay(
    run: Run, price_of: PriceOf | None, objectives: Objectives
) -> Iterator[tuple[float | None, list[Metric]]]:
    facts = RunFacts.of(run.manifest)
    live = LiveStats(objectives.slos, objectives.goodput)
    instants_s = _instants(run, facts)
    now_s = 0.0
    state = CollectorState(clock=lambda: now_s)
    state.apply({"labels": _labels(run.manifest), "info": _info(run.manifest)})
    t0_s = _t0_s(run.manifest)
    order = np.argsort(run.columns.numbers["end_ns"], kind="stable")
    columns = run.columns.take(order)
    ended_s, sent_s = columns.numbers["end_ns"] / 1e9, columns.numbers["sent_ns"] / 1e9
    bills = component_rows(run.records, run.columns, price_of or manifest_price(run.manifest))[order]
    done = 0
    for now_s in instants_s if t0_s is not None else instants_s[-1:]:
        until = int(np.searchsorted(ended_s, now_s, side="right"))
        delta = live.take_columns(columns.between(done, until), _ticks(bills[done:until]))
        done = until
        in_flight = int(np.count_nonzero((sent_s <= now_s) & (ended_s > now_s)))
        last = now_s == instants_s[-1]
        gauges = {
            "in_flight": in_flight,
            "offered_rate_rps": 0.0 if last else _offered_rps(run.manifest, now_s),
            **_budget(run.manifest, last=last),
        }
        state.apply({"delta": delta, "gauges": gauges, "phase": _phase(facts, now_s, last=last)})
        yield (None if t0_s is None else t0_s + now_s), list(state.collect())


def _budget(manifest: dict[str, Any], *, last: bool) -> dict[str, float]:
    """The budget at every instant; what became of it is known of the end only."""
    budget = manifest.get("budget")
    if not isinstance(budget, dict):
        return {}
    known = {"budget_usd": "max_cost_usd"}
    if last:
        known |= {"budget_spent_usd": "spent_usd", "budget_reserved_usd": "reserved_usd"}
    return {gauge: float(budget.get(name) or 0) for gauge, name in known.items()}


def _ticks(bills: "np.ndarray[Any, np.dtype[np.int64]]") -> dict[str, int]:
    """The sum of these bills by component; what the sheet does not explain only where there is any."""
    sums = dict(zip((*COMPONENTS, UNEXPLAINED), bills.sum(axis=0).tolist(), strict=True))
    return {name: ticks for name, ticks in sums.items() if ticks}


def _instants(run: Run, facts: RunFacts) -> Sequence[float]:
    """Evenly spaced, the last at the end of the last request."""
    end_s = max((record.end_ns / 1e9 for record in run.records), default=0.0)
    end_s = max(end_s, facts.duration_s or 0.0, 1e-3)
    step_s = max(_MIN_STEP_S, end_s / MAX_POINTS)
    instants = [round(step_s * number, 3) for number in range(int(end_s / step_s) + 1)]
    return [*(instant for instant in instants if instant < end_s), round(end_s + 0.0005, 3)]


def _phase(facts: RunFacts, now_s: float, *, last: bool) -> str:
    if last:
        return "finished"
    if now_s < facts.warmup_s:
        return "warmup"
    if facts.duration_s is None or now_s <= facts.duration_s - facts.cooldown_s:
        return "steady"
    return "drain" if now_s > facts.duration_s else "cooldown"


def _offered_rps(manifest: dict[str, Any], now_s: float) -> float:
    planned, duration_s = manifest.get("planned_requests"), manifest.get("duration_s")
    if not planned or not duration_s or now_s > duration_s:
        return 0.0
    return float(planned) / float(duration_s)


def _labels(manifest: dict[str, Any]) -> dict[str, str]:
    scenario, target = manifest.get("scenario"), manifest.get("target")
    return {
        "run_id": str(manifest.get("run_id", "")),
        "scenario": str(scenario.get("name", "") if isinstance(scenario, dict) else scenario or ""),
        "model": str(manifest.get("model") or ""),
        "target": str(target.get("kind", "other") if isinstance(target, dict) else target or "other"),
    }


def _info(manifest: dict[str, Any]) -> dict[str, str]:
    versions = manifest.get("versions")
    return {
        "version": str(versions.get("servebench", "")) if isinstance(versions, dict) else "",
        "seed": str(manifest.get("seed", "")),
        "price_date": str(manifest.get("price_date") or ""),
    }


def _t0_s(manifest: dict[str, Any]) -> float | None:
    """Unix time of T0; None where the manifest has none, and the samples then carry no time."""
    try:
        t0_s = datetime.fromisoformat(str(manifest.get("t0_utc"))).timestamp()
    except ValueError:
        return None
    return t0_s if t0_s > 0 else None
