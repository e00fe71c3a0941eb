"""What `servebench plan` was asked, of one tier or of all of them."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from servebench.catalog.load import Catalog
from servebench.catalog.tiers import Tier
from servebench.cli.plan_table import cheapest, print_tiers
from servebench.engine.disaggregation import Split, parse_split
from servebench.engine.step_time import StepTimeModel
from servebench.errors import UsageError
from servebench.plan.capacity import MAX_REPLICAS, Planner
from servebench.plan.fleet_plan import FleetPlan, Load, plan_fleet
from servebench.plan.objectives import judges
from servebench.results.files import write_bytes
from servebench.results.slo import Slo, parse_slos
from servebench.workload.scenario import Scenario

DEFAULT_SLO = "standard"
PREFILL_TOKENS = 100_000  # the prompt by which the preset long-context takes the tier's prefill rate


@dataclass(frozen=True, slots=True)
class Asked:
    """The flags that every tier shares. said: what was chosen for want of a flag."""

    scenario: Scenario
    load: Load
    slo_texts: tuple[str, ...]
    said: str
    max_gpus: int | None
    seed: int
    arrival_cv: float
    router: str
    split: Split | None

    @classmethod
    def of(cls, scenario: Scenario, flags: Mapping[str, Any]) -> "Asked":
        """Raises UsageError where there is no rate, or an SLO is no SLO."""
        rate_rps = flags["rate_rps"] or scenario.load.rate_rps
        if rate_rps is None:
            raise UsageError(f"{scenario.name} has no rate of its own: give --rate, in requests per second")
        texts, said = flags["slo_texts"], ""
        if texts:
            _slos(texts, scenario, prefill_tokens_per_s=1.0)
        else:
            texts, said = _own_slos(scenario)
        split = None if flags["disaggregate"] is None else parse_split(flags["disaggregate"])
        if split is not None and split.replicas > MAX_REPLICAS:
            raise UsageError(
                f"--disaggregate {flags['disaggregate']}: a group has at most {MAX_REPLICAS} replicas"
            )
        sessions = any(each.session is not None for each in scenario.classes)
        return cls(
            scenario=scenario,
            load=Load(rate_rps, flags["diurnal_peak"], flags["burst"], flags["availability"]),
            slo_texts=tuple(texts),
            said=said,
            max_gpus=flags["max_gpus"],
            seed=flags["seed"],
            arrival_cv=flags["arrival_cv"],
            router=flags["router"] or ("prefix-aware" if sessions else "least-loaded"),
            split=split,
        )


def _own_slos(scenario: Scenario) -> tuple[tuple[str, ...], str]:
    """The scenario's limits and its classes', as far as a plan judges them, else the preset; what to say."""
    classes = scenario.classes
    of_class = [f"{each.name}: {text}" if len(classes) > 1 else text for each in classes for text in each.slo]
    texts = tuple(dict.fromkeys((*scenario.slo, *of_class))) or (DEFAULT_SLO,)
    _slos(texts, scenario, prefill_tokens_per_s=1.0)  # what is wrong with them, all at once
    slos = {text: _slos((text,), scenario, prefill_tokens_per_s=1.0) for text in texts}
    kept = tuple(text for text in texts if all(judges(slo) for slo in slos[text]))
    left = [text for text in texts if text not in kept]
    origin = "the scenario's own" if (scenario.slo or of_class) and kept else f"the preset {DEFAULT_SLO}"
    kept = kept or (DEFAULT_SLO,)
    shown = [slo.text for slo in _slos(kept, scenario, prefill_tokens_per_s=1.0)]
    said = f"no --slo given: {origin} ({', '.join(shown)})"
    return kept, said + (f"; not judged by a plan: {', '.join(left)}" if left else "")


def plan_tier(catalog: Catalog, tier: Tier, asked: Asked, show: Callable[[str], None]) -> FleetPlan:
    """The plan of one tier. show: gets what is being simulated."""
    gpu = catalog.gpu(tier.serving.gpu_id)
    prefill_s = StepTimeModel(tier.shape, tier.serving, gpu).prefill_s(PREFILL_TOKENS)
    planner = Planner(
        asked.scenario,
        tier=tier,
        gpu=gpu,
        slos=_slos(asked.slo_texts, asked.scenario, prefill_tokens_per_s=PREFILL_TOKENS / prefill_s),
        seed=asked.seed,
        router=asked.router,
        split=asked.split,
        on_progress=show,
    )
    return plan_fleet(planner, asked.load, arrival_cv=asked.arrival_cv, max_gpus=asked.max_gpus)


def plan_tiers(
    catalog: Catalog,
    asked: Asked,
    *,
    basis: str,
    as_json: bool,
    out: Path | None,
    show: Callable[[str], None],
    end: Callable[[], None],
) -> int:
    """Every tier of the catalog for the same load; the exit code: 0 where one passes, else 3 or 4."""
    plans = [plan_tier(catalog, tier, asked, show) for tier in catalog.tiers.values()]
    end()
    best = cheapest(plans, basis)
    answer = {
        "schema": 1,
        "basis": basis,
        "cheapest": None if best is None else best.planner.tier.id,
        "plans": [plan.to_json() for plan in plans],
    }
    text = json.dumps(answer, indent=2)
    if out is not None:
        write_text(out, text)
    if as_json:
        click.echo(text)
    else:
        print_tiers(plans, basis=basis)
        if out is not None:
            click.echo(f"written to {out}")
    if best is not None:
        return 0
    return 4 if any(plan.verdict == "INCONCLUSIVE" for plan in plans) else 3


def _slos(texts: tuple[str, ...], scenario: Scenario, *, prefill_tokens_per_s: float) -> tuple[Slo, ...]:
    return tuple(
        parse_slos(
            texts,
            prefill_tokens_per_s=prefill_tokens_per_s,
            classes=[each.name for each in scenario.classes],
        )
    )


def write_text(path: Path, text: str) -> None:
    """Raises OperationError where it can't be written."""
    write_bytes(path, f"{text}\n".encode())
