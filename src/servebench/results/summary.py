"""Summary: what came out of a run, worked out from its records and nothing else."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from servebench.meter.record import RequestRecord
from servebench.results.chunk_times import LOST, ChunkTimes
from servebench.results.class_summary import ClassSummary, number_json, summarise_class
from servebench.results.columns import Columns
from servebench.results.cost_split import Costs, PriceOf, component_rows, cost_of, manifest_price
from servebench.results.facts import Objectives, RunFacts
from servebench.results.flow import Flow
from servebench.results.gate import GateResult, Verdict, judge, overall
from servebench.results.money import Cost, plain
from servebench.results.network import Network, summarise_network
from servebench.results.percentiles import ascending_s, percentile
from servebench.results.run_directory import Run
from servebench.results.slo import Slo, ttft_limit_s
from servebench.results.steady_state import Window, steady_window
from servebench.results.tasks import TaskSummary, summarise_tasks
from servebench.results.token_truth import TokenTruth, token_truth
from servebench.results.validity import invalid_reasons, warnings

SCHEMA = 1
ALL = "all"
_RUN_KEYS = (
    "run_id", "model", "target", "mode", "seed", "schedule_hash", "rate_rps", "users", "trace", "prompts",
    "t0_utc", "duration_s", "warmup_s", "cooldown_s", "planned_requests", "workers", "interrupted",
    "notes", "versions", "host",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Summary:
    """classes: "all", then each class by name. verdict None: nothing was asked. run: facts to show.

    tasks: of agents' sessions, by class; {} without sessions. prompt_tokens: asked, sent and billed.
    budget: as the manifest has it.
    """

    valid: bool
    invalid_reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    verdict: Verdict | None
    gates: tuple[GateResult, ...]
    classes: dict[str, ClassSummary]
    window: Window
    flow: Flow
    run: dict[str, Any]
    interrupted: bool
    stopped_by_budget: bool
    tasks: dict[str, TaskSummary] = field(default_factory=dict)
    prompt_tokens: TokenTruth | None = None
    network: Network | None = None
    budget: Mapping[str, Any] | None = None
    stop_reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """summary.json; its shape is versioned by "schema"."""
        return {
            "schema": SCHEMA,
            "valid": self.valid,
            "invalid_reasons": list(self.invalid_reasons),
            "warnings": list(self.warnings),
            "verdict": None if self.verdict is None else self.verdict.value,
            "gates": [gate_json(result) for result in self.gates],
            "classes": {name: one.to_json() for name, one in self.classes.items()},
            "prompt_tokens": None if self.prompt_tokens is None else self.prompt_tokens.to_json(),
            **({"tasks": {name: one.to_json() for name, one in self.tasks.items()}} if self.tasks else {}),
            **self.flow.to_json(),
            **({"network": self.network.to_json()} if self.network is not None else {}),
            **({"budget": dict(self.budget)} if self.budget is not None else {}),
            "stopped_by_budget": self.stopped_by_budget,
            "run": self.run,
        }


def summarise_run(
    run: Run, *, objectives: Objectives | None = None, price_of: PriceOf | None = None
) -> Summary:
    """The summary of a run read back. objectives, price_of None: the manifest's. Raises UsageError on a bad
    one.
    """
    return summarise(
        run.records,
        run.chunks,
        facts=RunFacts.of(run.manifest),
        objectives=Objectives.of(run.manifest) if objectives is None else objectives,
        manifest=run.manifest,
        price_of=manifest_price(run.manifest) if price_of is None else price_of,
        torn=run.torn,
        columns=run.columns,
    )


def summarise(
    records: Sequence[RequestRecord],
    chunks: ChunkTimes,
    *,
    facts: RunFacts,
    objectives: Objectives,
    manifest: Mapping[str, Any] | None = None,
    price_of: PriceOf | None = None,
    torn: int = 0,
    columns: Columns | None = None,
) -> Summary:
    """records and their chunk times at the same positions. torn: lines that could not be read back.

    columns: Columns.of the two, where they are made already.
    """
    columns = Columns.of(records, chunks) if columns is None else columns
    window = _window(columns, facts)
    classes = _classes(records, columns, chunks, window=window, objectives=objectives, price_of=price_of)
    inside = columns.select(window.contains(columns.numbers["intended_ns"])).by_intended()
    gates = tuple(_judge(slo, inside, objectives, window) for slo in objectives.gates)
    flow = Flow.of(columns, chunks, window=window, facts=facts)
    reasons = invalid_reasons(
        columns,
        inside=inside,
        window=window,
        facts=facts,
        ttft_limit_s=ttft_limit_s(objectives.slos, objectives.goodput),
        torn=torn,
        little_error=None if flow.little is None else flow.little.error,
    )
    unknown_cost = classes[ALL].cost.unknown
    network = summarise_network(columns, manifest or {})
    return Summary(
        valid=not reasons,
        invalid_reasons=tuple(reasons),
        warnings=(
            *flow.warnings(facts),
            *warnings(columns, [result.slo.text for result in gates if not result.n]),
            *([f"{unknown_cost} requests have no known price"] if unknown_cost else ()),
            *_money_warnings(classes[ALL].cost, network, facts),
        ),
        verdict=overall(gates),
        gates=gates,
        classes=classes,
        window=window,
        flow=flow,
        run=_run_facts(manifest or {}, window),
        interrupted=facts.interrupted,
        stopped_by_budget=facts.stopped_by_budget,
        tasks=summarise_tasks(records, window),
        prompt_tokens=token_truth(columns, manifest or {}),
        network=network,
        budget=facts.budget,
        stop_reason=facts.stop_reason,
    )


def _money_warnings(cost: Cost, network: Network, facts: RunFacts) -> Iterator[str]:
    if cost.differing:
        yield (
            f"{cost.differing} of {cost.checked} bills differ from the price sheet, by "
            f"${plain(cost.difference_usd)} in all: the server's stand; are the prices of another day?"
        )
    if network.throttled:
        waited = ", ".join(f"{seconds:.1f} s for {reason}" for reason, seconds in network.throttled_s.items())
        yield f"{network.throttled} requests waited by rule ({waited}): kept out of their latency"
    if facts.stop_reason:
        yield f"stopped: {facts.stop_reason}"
    broken = (facts.budget or {}).get("broken")
    if facts.budget and broken:
        yield f"{broken} requests cost more than their bound, by ${facts.budget['broken_usd']} in all"


def _classes(
    records: Sequence[RequestRecord],
    columns: Columns,
    chunks: ChunkTimes,
    *,
    window: Window,
    objectives: Objectives,
    price_of: PriceOf | None,
) -> dict[str, ClassSummary]:
    """All, then each class. One whose name is taken by the total is "all (class)"."""
    costs = Costs.of(records)
    components = None if price_of is None else component_rows(records, columns, price_of, costs=costs)
    share = _chunk_share(columns, chunks, window)
    good = columns.good(objectives.slos, objectives.goodput)

    def of(rows: NDArray[np.bool_]) -> ClassSummary:
        return summarise_class(
            columns.select(rows),
            share[rows],
            window=window,
            objectives=objectives,
            cost=cost_of(costs, rows, columns, components, good=good),
        )

    classes = {ALL: of(np.ones(len(columns), dtype=bool))}
    for name in columns.class_names:
        alone = len(columns.class_names) == 1
        classes["all (class)" if name == ALL else name] = classes[ALL] if alone else of(_rows(columns, name))
    return classes


def gate_json(result: GateResult) -> dict[str, Any]:
    slo = result.slo
    return {
        "slo": slo.text,
        "class": slo.class_name or ALL,
        "metric": slo.metric,
        "quantile": slo.quantile,
        "limit": slo.limit,
        "verdict": result.verdict.value,
        "value": number_json(result.value),
        "n": result.n,
        "over": result.over,
        "n_effective": result.n_effective,
        "share": result.share,
        "needed_n": result.needed_n,
        "reason": result.reason,
    }


def _judge(slo: Slo, inside: Columns, objectives: Objectives, window: Window) -> GateResult:
    good = inside.meets(slo, objectives.slos, objectives.goodput)
    value: float | None
    if slo.quantile is None:
        bad_share = float(np.mean(~good)) if len(good) else None
        if slo.is_rate:
            value = float(good.sum()) / window.duration_s if window.duration_s > 0 else None
        elif bad_share is None:
            value = None
        else:
            value = bad_share if slo.metric == "error_rate" else 1 - bad_share
    else:
        rows = inside.of_class(slo.class_name)
        found = percentile(_ascending_s(rows, slo.metric), slo.quantile)
        value = None if found is None else found.value
        if slo.metric == "interactivity" and value is not None:
            value = 1 / value
    return judge(slo, good, value=value, window_s=window.duration_s)


def _ascending_s(rows: Columns, metric: str) -> NDArray[np.float64]:
    if metric == "itl":
        return ascending_s(rows.gaps_us)
    values = rows.latency_s("tpot" if metric == "interactivity" else metric)
    return np.sort(values[~np.isnan(values)])


def _window(columns: Columns, facts: RunFacts) -> Window:
    duration_s = facts.duration_s
    if duration_s is None:  # no plan says when arrivals end: they end with the last one
        last_ns = columns.numbers["intended_ns"].max() + 1 if len(columns) else 0
        duration_s = float(last_ns) / 1e9
    return steady_window(
        warmup_s=facts.warmup_s, duration_s=duration_s, cooldown_s=facts.cooldown_s, stopped_s=facts.stopped_s
    )


def _rows(columns: Columns, name: str) -> NDArray[np.bool_]:
    return np.asarray(columns.class_code == columns.class_names.index(name), dtype=np.bool_)


def _chunk_share(columns: Columns, chunks: ChunkTimes, window: Window) -> NDArray[np.float64]:
    """Of each request, the share of its chunks inside the window; without chunks, by its last token."""
    first_ns, last_ns = columns.numbers["first_token_ns"], columns.numbers["last_token_ns"]
    sent_ns = columns.numbers["sent_ns"]
    inside = (first_ns >= window.start_ns) & (last_ns < window.end_ns)
    apart = np.isnan(last_ns) | (last_ns < window.start_ns) | (first_ns >= window.end_ns)
    share = inside.astype(np.float64)
    for row in np.flatnonzero(~inside & ~apart).tolist():  # few: those in flight at an end of the window
        times = chunks[row]
        if len(times) and LOST not in times:
            at_ns = sent_ns[row] + np.cumsum(times, dtype=np.int64) * 1000.0
            share[row] = float(window.contains(at_ns).mean())
        else:
            share[row] = float(window.start_ns <= last_ns[row] < window.end_ns)
    return share


def _run_facts(manifest: Mapping[str, Any], window: Window) -> dict[str, Any]:
    scenario = manifest.get("scenario")
    name = scenario.get("name") if isinstance(scenario, Mapping) else scenario
    facts = {"scenario": name, **{key: manifest[key] for key in _RUN_KEYS if key in manifest}}
    facts["window_s"] = [window.start_ns / 1e9, window.end_ns / 1e9]
    return facts
