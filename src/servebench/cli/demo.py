"""`servebench demo`: the main job in one go."""

import sys

import click

from servebench.cli.finite import SEED, FiniteRange


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--scenario", default="mixed", show_default=True, help="Shipped scenario or YAML file.")
@click.option(
    "--model", default=None, help="Tier to load (default: the scenario's); the mock serves all five."
)
@click.option(
    "--duration",
    "duration_s",
    type=FiniteRange(min=1),
    help="Seconds of arrivals (default: the scenario's).",
)
@click.option("--seed", type=SEED, default=1, show_default=True)
@click.option("--processes", type=click.IntRange(min=0), default=1, show_default=True, help="Locust workers.")
@click.option(
    "--out", type=click.Path(file_okay=False), help="Run directory (default runs/<UTC>-<scenario>-<seed>)."
)
@click.option("--json", "print_json", is_flag=True, help="Print the summary as JSON on stdout.")
def command(
    scenario: str,
    model: str | None,
    duration_s: float | None,
    seed: int,
    processes: int,
    out: str | None,
    print_json: bool,
) -> None:
    """Start the mock with all five tiers, drive a mixed scenario through Locust, and show what came out.

    Nothing leaves this machine and nothing is billed.
    """
    from servebench.drive.start import RunRequest, start

    request = RunRequest(
        scenario=scenario,
        model=model,
        duration_s=duration_s,
        seed=seed,
        processes=processes,
        out=out,
        print_json=print_json,
        all_tiers=True,
    )
    sys.exit(start(request, spawn=True))
