"""RunFacts: what the manifest says of a run that its records can't, and the objectives it was held to."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from servebench.results.slo import Goodput, Slo, parse_goodput, parse_slos


@dataclass(frozen=True, slots=True)
class RunFacts:
    """None = not known. planned_requests: arrivals scheduled (open loop). cpu_ratio: busiest worker, cores.

    loop_lag_s: p99 of how late the event loop came to data that had arrived. mean_in_flight: counted by the
    load generator, over the window, from starts and ends; _seen: by looking at the loop each 20 ms.
    loop_stall_s: p99 of how late a timer of 20 ms fired. clock_uncertainty_s: of the worst known clock of
    several hosts; clock_step_s: by how much a host's clock was set in the run. missing_stamps: reads that
    should have carried the kernel's stamp. recorded: requests that the workers say they recorded. varying:
    the load changes by plan. missing: one line for each thing the run is known to have lost.
    """

    mode: str = "open"
    warmup_s: float = 0.0
    duration_s: float | None = None
    cooldown_s: float = 0.0
    stopped_s: float | None = None
    planned_requests: int | None = None
    cpu_ratio: float | None = None
    loop_lag_s: float | None = None
    mean_in_flight: float | None = None
    mean_in_flight_seen: float | None = None
    loop_stall_s: float | None = None
    clock_uncertainty_s: float | None = None
    clock_step_s: float | None = None
    missing_stamps: int = 0
    recorded: int = 0
    varying: bool = False
    missing: tuple[str, ...] = ()
    interrupted: bool = False
    stopped_by_budget: bool = False
    stop_reason: str | None = None
    budget: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> "RunFacts":
        """Reads a manifest.json; what it does not have is unknown."""
        shards = [
            shard for shard in dict(manifest.get("shards") or {}).values() if isinstance(shard, Mapping)
        ]
        health = [_part(shard, "health") for shard in shards]
        lag_us = _largest(one.get("lag_p99_us") for one in health)
        step_us = _largest(one.get("clock_step_us") for one in health if one.get("kernel_stamps"))
        stopped = bool(manifest.get("interrupted")) or bool(manifest.get("stopped_by_budget"))
        return cls(
            mode=str(manifest.get("mode", "open")),
            warmup_s=float(manifest.get("warmup_s") or 0.0),
            duration_s=_number(manifest.get("duration_s")) or None,
            cooldown_s=float(manifest.get("cooldown_s") or 0.0),
            stopped_s=_number(manifest.get("stopped_s"))
            or (_number(manifest.get("elapsed_s")) if stopped else None),
            planned_requests=manifest.get("planned_requests"),
            cpu_ratio=_largest(shard.get("cpu_ratio") for shard in shards),
            loop_lag_s=None if lag_us is None else lag_us / 1e6,
            mean_in_flight=_number(manifest.get("mean_in_flight")),
            mean_in_flight_seen=_number(manifest.get("mean_in_flight_seen")),
            loop_stall_s=_largest(_part(shard, "loop_stall").get("p99_s") for shard in shards),
            clock_uncertainty_s=_clock_uncertainty_s(manifest),
            clock_step_s=None if step_us is None else step_us / 1e6,
            missing_stamps=sum(int(one.get("missing_stamps") or 0) for one in health),
            recorded=sum(int(shard.get("records") or 0) for shard in shards),
            varying=_varying(manifest),
            missing=tuple(_missing(manifest, shards)),
            interrupted=bool(manifest.get("interrupted")),
            stopped_by_budget=bool(manifest.get("stopped_by_budget")),
            stop_reason=manifest.get("stop_reason") or None,
            budget=manifest.get("budget") or None,
        )


@dataclass(frozen=True, slots=True)
class Objectives:
    """gates decide the verdict; slos (gates among them) and goodput decide what a good request is."""

    gates: tuple[Slo, ...] = ()
    slos: tuple[Slo, ...] = ()
    goodput: Goodput | None = None

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> "Objectives":
        """The run's --slo and --goodput, else the scenario's own, which gate nothing. Raises UsageError."""
        scenario = manifest.get("scenario")
        scenario = scenario if isinstance(scenario, Mapping) else {}
        texts, goodput = list(manifest.get("slo") or ()), list(manifest.get("goodput") or ())
        gates = parse_slos(texts)
        if texts or goodput:
            return cls(gates, gates, parse_goodput(goodput) if goodput else None)
        own = list(scenario.get("slo") or ())
        for each in scenario.get("classes") or ():
            own += [f"{each['name']}: {text}" for text in each.get("slo") or ()]
        return cls((), parse_slos(own), _goodput(scenario))


def _varying(manifest: Mapping[str, Any]) -> bool:
    """A trace, or a load with a shape: no one expects it to be steady."""
    scenario = manifest.get("scenario")
    load = scenario.get("load") if isinstance(scenario, Mapping) else None
    shaped = isinstance(load, Mapping) and load.get("shape") is not None
    return bool(manifest.get("trace")) or shaped


def _goodput(scenario: Mapping[str, Any]) -> Goodput | None:
    """A class's own limits stand in place of the scenario's."""
    general = parse_goodput(scenario.get("goodput") or ()).limits_s
    own = tuple(
        (str(each["name"]), parse_goodput(each["goodput"]).limits_s)
        for each in scenario.get("classes") or ()
        if each.get("goodput")
    )
    return Goodput(general, own) if general or own else None


def _part(shard: Mapping[str, Any], key: str) -> dict[str, Any]:
    return dict(shard.get(key) or {})


def _largest(values: Iterable[Any]) -> float | None:
    return max((float(value) for value in values if value is not None), default=None)


def _clock_uncertainty_s(manifest: Mapping[str, Any]) -> float | None:
    offsets = dict(manifest.get("clock_offsets_us") or {}).values()
    worst_us = _largest(offset.get("uncertainty") for offset in offsets if isinstance(offset, Mapping))
    return None if worst_us is None else worst_us / 1e6


def _missing(manifest: Mapping[str, Any], shards: list[Mapping[str, Any]]) -> list[str]:
    lines = []
    lost = list(manifest.get("missing_workers") or ())
    if lost:
        lines.append(
            f"{len(lost)} of {manifest.get('workers')} workers were lost: {', '.join(map(str, lost))}"
        )
    late = int(manifest.get("late_workers") or 0)
    if late and manifest.get("mode") == "closed":
        lines.append(
            f"workers that came after the start: {late}; the users that Locust gave them stood still"
        )
    lines += [
        f"worker {shard.get('shard')}: {shard['disk_error']}" for shard in shards if shard.get("disk_error")
    ]
    return lines


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
