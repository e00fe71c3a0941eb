"""The table of `servebench plan`: of one tier, or of several side by side."""

from collections.abc import Iterator, Sequence

import click
from rich.table import Table

from servebench.cli.tables import console, table
from servebench.plan.capacity import LOAD_SHARE
from servebench.plan.fleet_plan import HOURS_PER_MONTH, FleetPlan, count_of
from servebench.plan.probe_json import latency_summary


def print_table(plan: FleetPlan) -> None:
    """One plan, a line a figure."""
    planner = plan.planner
    title = f"{planner.scenario.name} at {plan.rate_rps:g} {planner.unit}/s on {planner.tier.name}"
    shown = Table(title=title, show_header=False, title_justify="left")
    for name, value in _rows(plan):
        shown.add_row(name, value)
    console().print(shown)
    click.echo(f"{plan.verdict}: {plan.reason}")
    if plan.modelled:
        point = planner.tier.operating_point
        published = "" if point is None else f" (calibrated to the published {point.tokens_per_s:g} tokens/s)"
        click.echo(
            f"MODELLED: the speed of {planner.tier.name}{published} rests on {', '.join(plan.modelled)}"
        )


def _rows(plan: FleetPlan) -> Iterator[tuple[str, str]]:
    planner, per_replica = plan.planner, plan.planner.gpus_per_replica
    yield "SLO", "\n".join(slo.text for slo in planner.slos)
    load, means = plan.load, planner.demand().means()
    if load.peak_rps != load.mean_rps:
        burst = f" x {1 + load.burst:g} (burst)" * (load.burst > 0)
        yield "rate", f"{load.mean_rps:g}/s mean x {load.diurnal_peak:g} (the day's peak){burst}"
    if planner.demand().has_sessions:
        yield (
            "a session",
            f"{means.calls:.1f} calls, {means.prompt_tokens / means.calls:,.0f} prompt tokens each",
        )
    if planner.split is not None:
        yield "a replica", f"a group: {planner.split.prefill} for prefill, {planner.split.decode} for decode"
    if plan.replicas:
        yield "replicas", f"{plan.replicas} x {per_replica} {planner.gpu.name} = {plan.gpus} GPUs"
        if plan.spares:
            yield (
                "spares",
                (
                    f"{count_of(plan.spares)} of these may be down: enough are up 99.9 % of the time at an "
                    f"availability of {load.availability:g} per 8 GPUs"
                ),
            )
        yield "headroom", _headroom(plan)
        for basis, usd in plan.usd_per_h.items():
            month = usd * HOURS_PER_MONTH
            yield f"cost, {basis}", f"${usd:,.2f}/h, ${month:,.0f} a month"
        yield "power", f"{plan.megawatts * 1000:,.1f} kW all-in at full load"
    capacity = plan.capacity
    calls = f" ({capacity.rps * means.calls:.3g} calls/s)" * planner.demand().has_sessions
    yield "one replica", f"{capacity.rps:.3g}/s{calls} at arrival CV {plan.arrival_cv:g}"
    if plan.checks:
        yield "cross-checks", "\n".join(check.sentence for check in plan.checks)
    if plan.comparison is not None:
        replicas, rps = plan.comparison
        each = f"{rps:.3g}/s, by which alone {count_of(replicas)} would do"
        yield "at CV 1 (Poisson)", each if replicas else "no number of replicas"
    if plan.fleet is None:
        return
    result, simulated = plan.fleet.result, plan.fleet
    for name, values in latency_summary(result).items():
        cells = [f"{key} {_seconds(values[key])}" for key in ("p50", "p95", "p99")]
        yield name.removesuffix("_s").upper(), f"{', '.join(cells)}  (n {values['n']:,})"
    yield (
        "simulated",
        f"{simulated.replicas} x at {simulated.rate_rps:.4g} {planner.unit}/s: "
        f"busy {result.gpu_busy_share:.0%}, KV at most {result.peak_kv_usage:.1%}, "
        f"{result.preemptions} preemptions",
    )


def _headroom(plan: FleetPlan) -> str:
    """As simulated; where that could not be seen to pass, by what one replica carries alone."""
    unit, carried_rps = plan.planner.unit, plan.working * plan.capacity.rps
    if plan.headroom:
        return f"passes at {plan.rate_rps / LOAD_SHARE:.4g} {unit}/s, {1 / LOAD_SHARE - 1:.0%} over the rate"
    over = carried_rps / plan.rate_rps - 1
    return f"{plan.working} x one replica's capacity: {carried_rps:.4g} {unit}/s, {over:+.0%} of the rate"


def _seconds(value: float | None) -> str:
    if value is None:
        return "n too small"
    return f"{value:.3g} s" if value >= 1 else f"{value * 1000:.3g} ms"


def print_tiers(plans: Sequence[FleetPlan], *, basis: str) -> None:
    """Several tiers for one load, the cheapest that passes named."""
    first = plans[0]
    columns = ("Tier", "verdict", "replicas", "GPUs", "$/h", "$/month", "MW", "tok/s/user", "TTFT p99")
    title = f"{first.planner.scenario.name} at {first.rate_rps:g}/s, {basis}"
    shown = table(title, columns, whole=columns[:1], right=columns[2:])
    for plan in plans:
        shown.add_row(*_tier_cells(plan, basis))
    out = console()
    out.print(shown)
    for plan in plans:
        if plan.verdict != "PASS":
            click.echo(f"{plan.planner.tier.id}: {plan.reason}")
    best = cheapest(plans, basis)
    if best is None:
        click.echo("FAIL: no tier is shown to meet the SLO")
    else:
        usd = best.usd_per_h[basis]
        click.echo(f"PASS: cheapest is {best.planner.tier.name}, {best.gpus} GPUs at ${usd:,.2f}/h")


def cheapest(plans: Sequence[FleetPlan], basis: str) -> FleetPlan | None:
    """Of those that pass; None where none does."""
    passing = [plan for plan in plans if plan.verdict == "PASS"]
    return min(passing, key=lambda plan: plan.usd_per_h[basis], default=None)


def _tier_cells(plan: FleetPlan, basis: str) -> list[str]:
    name, verdict = plan.planner.tier.name, str(plan.verdict)
    if not plan.replicas or plan.fleet is None:
        return [name, verdict, *["-"] * 7]
    usd = plan.usd_per_h[basis]
    latencies = latency_summary(plan.fleet.result)
    tpot_s, ttft_s = latencies["tpot_s"]["p50"], latencies["ttft_s"]["p99"]
    return [
        name,
        verdict,
        f"{plan.replicas}",
        f"{plan.gpus:,}",
        f"{usd:,.2f}",
        f"{usd * HOURS_PER_MONTH:,.0f}",
        f"{plan.megawatts:.3g}",
        "-" if not tpot_s else f"{1 / tpot_s:.3g}",
        _seconds(ttft_s),
    ]
