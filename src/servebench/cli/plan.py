"""servebench plan: replicas, GPUs and dollars for a rate and an SLO, by simulation. Exit 0, 3 or 4."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import click

from servebench.errors import OperationError, UsageError

if TYPE_CHECKING:
    from servebench.plan.fleet_plan import FleetPlan

DEFAULT_SLO = "standard"
PREFILL_TOKENS = 100_000  # the prompt by which the preset long-context takes the tier's prefill rate
HOURS_PER_MONTH = 730
EXIT_CODES = {"PASS": 0, "FAIL": 3, "INCONCLUSIVE": 4}


@click.command()
@click.argument("scenario")
@click.option("--rate", "rate_rps", type=click.FloatRange(min=0, min_open=True), help="Requests per second.")
@click.option("--tier", "tier_id", help="Model tier. Default: the scenario's model.")
@click.option(
    "--profile",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Tier profile (YAML of `servebench calibrate`) in place of the catalog's tier.",
)
@click.option(
    "--slo",
    "slo_texts",
    multiple=True,
    help='Limit, as "ttft p99 < 2s"; repeatable. Default: the scenario\'s, else the preset standard.',
)
@click.option("--max-gpus", type=click.IntRange(min=1), help="Fail (exit 3) where more GPUs are needed.")
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="The same seed gives the same answer.",
)
@click.option(
    "--arrival-cv",
    type=click.FloatRange(min=0, max=20),
    default=2.0,
    show_default=True,
    help="Burstiness: coefficient of variation of the gaps between requests (1: Poisson).",
)
@click.option(
    "--router",
    type=click.Choice(("least-loaded", "round-robin", "prefix-aware")),
    default="least-loaded",
    show_default=True,
    help="How requests are spread over the replicas.",
)
@click.option(
    "--disaggregate",
    metavar="P:D",
    help="Plan groups of P replicas that prefill and D that decode, KV sent between them.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the plan as JSON here.")
def command(
    scenario: str,
    rate_rps: float | None,
    tier_id: str | None,
    profile: Path | None,
    slo_texts: tuple[str, ...],
    max_gpus: int | None,
    seed: int,
    arrival_cv: float,
    router: str,
    disaggregate: str | None,
    as_json: bool,
    out: Path | None,
) -> None:
    """Replicas, GPUs, dollars and megawatts for a SCENARIO (a shipped name or a file) at a rate.

    Simulates the serving engine in virtual time: one replica's capacity within the SLO, a fifth kept free,
    then the whole fleet. Exits 3 where no fleet meets the SLO or --max-gpus is too few, 4 where it can't be
    decided.
    """
    from servebench.catalog.load import load_catalog
    from servebench.catalog.profile import with_profiles
    from servebench.engine.disaggregation import parse_split
    from servebench.engine.step_time import StepTimeModel
    from servebench.plan.capacity import Planner
    from servebench.plan.fleet_plan import plan_fleet
    from servebench.results.slo import parse_slos
    from servebench.workload.scenario import load_scenario

    loaded = load_scenario(scenario)
    catalog, profiled = with_profiles(load_catalog(), [profile] if profile else [])
    tier = catalog.tier(tier_id or next(iter(profiled), loaded.model))
    gpu = catalog.gpu(tier.serving.gpu_id)
    rate_rps = rate_rps or loaded.load.rate_rps
    if rate_rps is None:
        raise UsageError(f"{loaded.name} has no rate of its own: give --rate, in requests per second")
    texts = slo_texts or loaded.slo or (DEFAULT_SLO,)
    prefill_s = StepTimeModel(tier.shape, tier.serving, gpu).prefill_s(PREFILL_TOKENS)
    slos = parse_slos(
        texts,
        prefill_tokens_per_s=PREFILL_TOKENS / prefill_s,
        classes=[cls.name for cls in loaded.classes],
    )
    if not slo_texts:
        origin = "those of the scenario" if loaded.slo else f"the preset {DEFAULT_SLO}"
        click.echo(f"no --slo given: {origin} ({', '.join(slo.text for slo in slos)})", err=True)
    show, end = _progress_line()
    planner = Planner(
        loaded,
        tier=tier,
        gpu=gpu,
        slos=slos,
        seed=seed,
        router=router,
        split=None if disaggregate is None else parse_split(disaggregate),
        on_progress=show,
    )
    plan = plan_fleet(planner, rate_rps, arrival_cv=arrival_cv, max_gpus=max_gpus)
    end()
    _deliver(plan, as_json=as_json, out=out)
    sys.exit(EXIT_CODES[plan.verdict])


def _progress_line() -> tuple[Callable[[str], None], Callable[[], None]]:
    """On a terminal one line that rewrites itself, with the seconds; elsewhere nothing, so that logs stay
    short."""
    if not sys.stderr.isatty():
        return (lambda text: None), (lambda: None)
    began_s = monotonic()

    def show(text: str) -> None:
        click.echo(f"\r\033[K{monotonic() - began_s:4.0f} s  {text}", err=True, nl=False)

    return show, lambda: click.echo("\r\033[K", err=True, nl=False)


def _deliver(plan: "FleetPlan", *, as_json: bool, out: Path | None) -> None:
    text = json.dumps(plan.to_json(), indent=2)
    if out is not None:
        try:
            out.write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise OperationError(f"cannot write {out}: {error.strerror}") from None
    if as_json:
        click.echo(text)
        return
    _print_table(plan)
    if out is not None:
        click.echo(f"written to {out}")


def _print_table(plan: "FleetPlan") -> None:
    from rich.table import Table

    from servebench.cli.tables import console

    planner = plan.planner
    title = f"{planner.scenario.name} at {plan.rate_rps:g} requests/s on {planner.tier.name}"
    table = Table(title=title, show_header=False, title_justify="left")
    for name, value in _rows(plan):
        table.add_row(name, value)
    console().print(table)
    click.echo(f"{plan.verdict}: {plan.reason}")
    if plan.modelled:
        point = planner.tier.operating_point
        published = "" if point is None else f" (calibrated to the published {point.tokens_per_s:g} tokens/s)"
        click.echo(
            f"MODELLED: the speed of {planner.tier.name}{published} rests on {', '.join(plan.modelled)}"
        )


def _rows(plan: "FleetPlan") -> Iterator[tuple[str, str]]:
    from servebench.plan.capacity import LOAD_SHARE, latency_summary
    from servebench.plan.fleet_plan import count_of

    planner, per_replica = plan.planner, plan.planner.gpus_per_replica
    yield "SLO", "\n".join(slo.text for slo in planner.slos)
    if planner.split is not None:
        yield "a replica", f"a group: {planner.split.prefill} for prefill, {planner.split.decode} for decode"
    if plan.replicas:
        yield "replicas", f"{plan.replicas} x {per_replica} {planner.gpu.name} = {plan.gpus} GPUs"
        yield "headroom", f"passes at {plan.rate_rps / LOAD_SHARE:.4g} requests/s, a quarter over the rate"
        for basis, usd in plan.usd_per_h.items():
            month = usd * HOURS_PER_MONTH
            yield f"cost, {basis}", f"${usd:,.2f}/h, ${month:,.0f} a month"
        yield "power", f"{plan.megawatts * 1000:,.1f} kW all-in at full load"
    capacity = plan.capacity
    yield "one replica", f"{capacity.rps:.3g} requests/s at arrival CV {plan.arrival_cv:g}"
    if plan.comparison is not None:
        replicas, rps = plan.comparison
        answer = f"{count_of(replicas)}, {rps:.3g} requests/s each" if replicas else "no number of replicas"
        yield "at CV 1 (Poisson)", answer
    if plan.fleet is None:
        return
    result, simulated = plan.fleet.result, plan.fleet
    for name, values in latency_summary(result).items():
        cells = [f"{key} {_seconds(values[key])}" for key in ("p50", "p95", "p99")]
        yield name.removesuffix("_s").upper(), f"{', '.join(cells)}  (n {values['n']:,})"
    yield (
        "simulated",
        f"{simulated.replicas} x at {simulated.rate_rps:.4g} requests/s: busy {result.gpu_busy_share:.0%}, "
        f"KV at most {result.peak_kv_usage:.1%}, {result.preemptions} preemptions",
    )


def _seconds(value: float | None) -> str:
    if value is None:
        return "n too small"
    return f"{value:.3g} s" if value >= 1 else f"{value * 1000:.3g} ms"
