"""`servebench economics`: per tier speed, cost to serve, price, margin, energy, and what binds."""

import datetime
import json
import os
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import click

from servebench.cli.fleet_options import availability_option, basis_option, peak_option, seed_option
from servebench.cli.progress import Progress
from servebench.errors import OperationError

if TYPE_CHECKING:
    from servebench.plan.economics_study import Study


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("scenario", default="chat")
@click.option("--tier", "tiers", metavar="ID", multiple=True, help="Tier, repeatable.  [default: all five]")
@click.option(
    "--demand",
    "demand_text",
    default="1000",
    show_default=True,
    metavar="LOAD",
    help='Mean load to size a fleet for: "500 rps" or "2M tokens/s" (input and output).',
)
@basis_option("What a GPU hour costs: owned at hyperscale, owned by a neocloud, or rented for three years.")
@click.option(
    "--slo",
    "slo_texts",
    multiple=True,
    default=("standard",),
    show_default=True,
    help='Limit, as "ttft p99 < 2s", or a preset; repeatable.',
)
@peak_option(1.6)
@availability_option(0.99)
@seed_option
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    default=min(5, os.cpu_count() or 1),
    show_default="one a core, at most 5",
    help="Tiers computed at once.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write economics.html (with the chart), economics.md and economics.json here.",
)
def command(
    scenario: str,
    tiers: tuple[str, ...],
    demand_text: str,
    basis: str,
    slo_texts: tuple[str, ...],
    diurnal_peak: float,
    availability: float,
    seed: int,
    processes: int,
    as_json: bool,
    out: Path | None,
) -> None:
    """What serving a SCENARIO (a shipped name or a file; default chat) costs on every tier.

    One row a tier: tokens/s of a user, requests/s of a replica within the SLO, dollars per million tokens,
    price (published, or the break-even price), margin, energy, GPUs and megawatts for the demand, and what
    binds; then the same on the published cluster, and competitors' list prices. By simulation: a dozen
    seconds, of long sessions (agent_tools) half a minute a tier.
    """
    from servebench.catalog.load import load_catalog
    from servebench.plan.demand_text import parse_demand
    from servebench.plan.economics_study import Question, study
    from servebench.plan.fleet_size import Terms
    from servebench.workload.scenario import load_scenario

    catalog = load_catalog()
    ids = tuple(dict.fromkeys(catalog.tier(tier).id for tier in tiers)) or tuple(catalog.tiers)
    question = Question(
        scenario=load_scenario(scenario),
        tier_ids=ids,
        slo_texts=slo_texts,
        terms=Terms(basis, diurnal_peak, availability),
        demand=parse_demand(demand_text),
        seed=seed,
    )
    question.check()
    found = study(
        question,
        on=datetime.datetime.now(datetime.UTC).date(),
        processes=processes,
        done=_progress(len(ids)),
        tell=Progress(),
    )
    _deliver(found, as_json=as_json, out=out)
    if not found.rows:
        raise OperationError("no tier meets the SLO on this traffic: loosen --slo or choose another scenario")


def _progress(count: int) -> Callable[[str], None]:
    """A line on stderr for each tier that is ready."""
    began_s, ready = monotonic(), 0
    click.echo(f"simulating {count} tier{'s' * (count != 1)} ...", err=True)

    def done(tier: str) -> None:
        nonlocal ready
        ready += 1
        click.echo(f"{monotonic() - began_s:4.0f} s  {ready}/{count}  {tier}", err=True)

    return done


def _deliver(found: "Study", *, as_json: bool, out: Path | None) -> None:
    from servebench.export import economics_page as page
    from servebench.export import economics_table as table
    from servebench.results.files import write_bytes

    text = json.dumps(table.to_json(found), indent=2)
    if out is not None:
        write_bytes(out / page.FILE, page.economics_html(found).encode())
        write_bytes(out / page.MARKDOWN_FILE, table.markdown(found).encode())
        write_bytes(out / page.JSON_FILE, f"{text}\n".encode())
    if as_json:
        click.echo(text)
        return
    _print(found)
    if out is not None:
        click.echo(f"written to {out / page.FILE}, {page.MARKDOWN_FILE}, {page.JSON_FILE}")


def _print(found: "Study") -> None:
    from servebench.cli.tables import console, table
    from servebench.export import economics_table as cells

    out = console()

    def show(title: str, headings: tuple[str, ...], lines: list[list[str]], *, left: int = 1) -> None:
        made = table(title, headings, whole=(), right=headings[left:])
        for line in lines:
            made.add_row(*line)
        out.print(made)

    if found.rows:
        name = found.question.scenario.name
        show(f"What serving costs: {name}, {found.question.terms.basis}", cells.HEADINGS, cells.rows(found))
        cases = found.cluster[found.rows[0].tier.id]
        if cases:
            cluster = cases[0].cluster
            title = f"On {cluster.name}: {cluster.gpus:,}+ GPUs, {cluster.megawatts:g} MW"
            show(title, cells.CLUSTER_HEADINGS, cells.cluster_rows(found))
        show(f"List prices of {found.on}", cells.MARKET_HEADINGS, cells.market_rows(found), left=2)
    for note in cells.notes(found):
        out.print(note, style="dim")
