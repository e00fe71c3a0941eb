"""servebench plan: replicas, GPUs and dollars for a rate and an SLO, by simulation. Exit 0, 3 or 4."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from servebench.cli.finite import FiniteRange
from servebench.cli.fleet_options import availability_option, basis_option, peak_option, seed_option
from servebench.cli.progress import Progress
from servebench.errors import UsageError

EXIT_CODES = {"PASS": 0, "FAIL": 3, "INCONCLUSIVE": 4}


@click.command()
@click.argument("scenario")
@click.option(
    "--rate",
    "rate_rps",
    type=FiniteRange(min=0, min_open=True, max=1e9),
    help="Requests per second (of a scenario with sessions: sessions), mean over the day.",
)
@click.option("--tier", "tier_id", help="Model tier, or all to compare them. Default: the scenario's model.")
@click.option(
    "--profile",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Tier profile (YAML of `servebench calibrate`) in place of the catalog's tier.",
)
@click.option(
    "--slo",
    "slo_texts",
    multiple=True,
    help="Limit, as \"ttft p99 < 2s\"; repeatable. Default: the scenario's and its classes', else standard.",
)
@click.option("--max-gpus", type=click.IntRange(min=1), help="Fail (exit 3) where more GPUs are needed.")
@seed_option
@click.option(
    "--arrival-cv",
    type=FiniteRange(min=0, max=20),
    default=2.0,
    show_default=True,
    help="Burstiness: coefficient of variation of the gaps between requests (1: Poisson).",
)
@peak_option(1.0)
@click.option(
    "--burst",
    type=FiniteRange(min=0, max=10),
    default=0.0,
    show_default=True,
    help="Share by which bursts pass the day's peak.",
)
@availability_option(1.0)
@basis_option("With --tier all: the price of a GPU hour by which the cheapest is chosen.")
@click.option(
    "--router",
    type=click.Choice(("least-loaded", "round-robin", "prefix-aware")),
    help="How requests are spread.  [default: prefix-aware for sessions, else least-loaded]",
)
@click.option(
    "--disaggregate",
    metavar="P:D",
    help="Plan groups of P replicas that prefill and D that decode, KV sent between them.",
)
@click.option(
    "--verify",
    is_flag=True,
    help="Then measure the answer, or a share of it that one machine carries, on the mock, a minute or two.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the plan as JSON here.")
def command(
    scenario: str,
    tier_id: str | None,
    profile: Path | None,
    verify: bool,
    as_json: bool,
    out: Path | None,
    basis: str,
    **flags: Any,
) -> None:
    """Replicas, GPUs, dollars and megawatts for a SCENARIO (a shipped name or a file) at a rate.

    Simulates the serving engine in virtual time: one replica's capacity within the SLO, a fifth kept free,
    then the whole fleet; sessions go on call by call. Exits 3 where no fleet meets the SLO or --max-gpus is
    too few, 4 where it can't be decided, and with --verify as the measured run does.
    """
    from servebench.catalog.load import load_catalog
    from servebench.catalog.profile import with_profiles
    from servebench.cli.plan_table import print_table
    from servebench.cli.plan_tiers import Asked, plan_tier, plan_tiers, write_text
    from servebench.cli.plan_verify import verify_plan
    from servebench.workload.scenario import load_scenario

    loaded = load_scenario(scenario)
    catalog, profiled = with_profiles(load_catalog(), [profile] if profile else [])
    asked = Asked.of(loaded, flags)
    if asked.said:
        click.echo(asked.said, err=True)
    show = Progress.here()
    if tier_id == "all":
        if verify:
            raise UsageError("--verify measures one answer: give one --tier")
        code = plan_tiers(catalog, asked, basis=basis, as_json=as_json, out=out, show=show, end=show.end)
        sys.exit(code)
    tier = catalog.tier(tier_id or next(iter(profiled), loaded.model))
    if profiled and tier.id not in profiled:
        raise UsageError(f"--profile is of {', '.join(profiled)}, not of {tier.id}: leave out --tier")
    plan = plan_tier(catalog, tier, asked, show)
    show.end()
    code, answer = EXIT_CODES[plan.verdict], plan.to_json()
    if out is not None:
        write_text(out, json.dumps(answer, indent=2))
    if not as_json:
        print_table(plan)
    if verify and code == 0:
        found = verify_plan(plan, scenario, profile=profile, texts=asked.slo_texts, silent=as_json)
        code, answer = found.exit_code, answer | {"verified": found.to_json()}
    elif verify:
        click.echo("nothing to verify: no fleet passes", err=True)
    if out is not None and "verified" in answer:
        write_text(out, json.dumps(answer, indent=2))
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    elif out is not None:
        click.echo(f"written to {out}")
    sys.exit(code)
