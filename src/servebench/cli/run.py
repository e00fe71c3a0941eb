"""`servebench run`: one measured run. Parses and checks everything, then becomes Locust."""

import os
import sys
from typing import Any

import click

from servebench.cli.finite import SEED, FiniteRange
from servebench.cli.run_money import money_options


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("scenario", required=False)
@click.option(
    "--target",
    default="mock",
    show_default=True,
    metavar="mock|xai|URL",
    help="What to load. mock starts one for the run and stops it.",
)
@click.option("--model", metavar="ID", help="Model to ask for (default: the scenario's).")
@click.option(
    "--tiers",
    metavar="ID,ID,...",
    help="Run over these models, one after the other, into one table and one page; all: the catalog's five.",
)
@click.option(
    "--rate", "rate_rps", type=FiniteRange(min=0, min_open=True), help="Open loop: arrivals per second."
)
@click.option(
    "-u", "--users", type=click.IntRange(min=1), help="Closed loop: users with one request in flight each."
)
@click.option("--duration", "duration_s", type=FiniteRange(min=0, min_open=True), help="Seconds of arrivals.")
@click.option(
    "--warmup",
    "warmup_s",
    type=FiniteRange(min=0),
    help="Seconds left out of percentiles (default: 0 for traces and runs under 60 s, else 10 %).",
)
@click.option(
    "--task-grace",
    "task_grace_s",
    type=FiniteRange(min=0),
    help="Seconds after the arrivals in which agents' sessions may go on (default: the scenario's).",
)
@click.option(
    "--cooldown",
    "cooldown_s",
    type=FiniteRange(min=0),
    default=0.0,
    show_default=True,
    help="Last seconds of arrivals left out of percentiles; load runs on through them.",
)
@click.option(
    "--trace",
    type=click.Path(dir_okay=False),
    help="Replay this trace's times and lengths (Azure, BurstGPT, Mooncake, ServeGen, Bailian, JSONL).",
)
@click.option(
    "--trace-start",
    "trace_start_s",
    type=FiniteRange(min=0),
    default=0.0,
    show_default=True,
    help="Seconds into the trace.",
)
@click.option(
    "--rate-scale",
    type=FiniteRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="Scale the trace's rate by thinning or superposition.",
)
@click.option(
    "--trace-speed",
    type=FiniteRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="Replay the trace so many times as fast (beside a mock's --time-scale).",
)
@click.option(
    "--prompts",
    type=click.Path(),
    metavar="FILE|DIR",
    help="Send these prompts instead of made ones: JSONL of messages, ShareGPT's JSON, a directory of texts.",
)
@click.option(
    "--tokenizer",
    type=click.Choice(["bytes", "o200k"]),
    default="bytes",
    show_default=True,
    help="Size prompts by the tier's declared bytes per token, or by a real BPE (not Grok's; an extra).",
)
@click.option("--seed", type=SEED, default=1, show_default=True)
@click.option("--slo", multiple=True, metavar="TEXT", help='Gate, e.g. "ttft p99 < 2s"; repeatable.')
@click.option(
    "--goodput",
    multiple=True,
    metavar="METRIC:MS",
    help="Goodput limits in vLLM's spelling, e.g. ttft:500 tpot:50; repeatable.",
)
@click.option(
    "--processes",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Locust workers beside the master; 0: one process does it all.",
)
@click.option("--master", is_flag=True, help="Wait for workers on other hosts instead of forking them.")
@click.option(
    "--expect-workers",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="With --master: how many to wait for.",
)
@click.option(
    "--master-bind-host",
    default="127.0.0.1",
    show_default=True,
    help="With --master: the interface that workers reach.",
)
@click.option("--worker", is_flag=True, help="Work for a master on another host; needs no SCENARIO.")
@click.option("--master-host", default="127.0.0.1", show_default=True, help="With --worker: the master.")
@click.option(
    "--master-port",
    type=click.IntRange(1, 65535),
    default=5557,
    show_default=True,
    help="With --master or --worker.",
)
@click.option(
    "--max-in-flight",
    type=click.IntRange(min=1),
    default=10_000,
    show_default=True,
    help="Cap per worker; what waits still counts from its intended start.",
)
@click.option(
    "--grace",
    "grace_s",
    type=FiniteRange(min=0),
    default=30.0,
    show_default=True,
    help="Seconds to wait for what is in flight at the end.",
)
@click.option(
    "--replicas",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="With --target mock: replicas of the tier.",
)
@click.option(
    "--profile",
    "profiles",
    type=click.Path(dir_okay=False),
    multiple=True,
    help="With --target mock: serve this tier profile (of `servebench calibrate`); repeatable.",
)
@money_options
@click.option("--web", is_flag=True, help="Locust's web UI on http://127.0.0.1 instead of headless.")
@click.option(
    "--web-port", type=click.IntRange(1, 65535), default=8089, show_default=True, help="With --web: its port."
)
@click.option(
    "--out", type=click.Path(file_okay=False), help="Run directory (default runs/<UTC>-<scenario>-<seed>)."
)
@click.option("--junit", type=click.Path(dir_okay=False), help="Write the gates as JUnit XML.")
@click.option(
    "--markdown",
    type=click.Path(dir_okay=False),
    help="Write the result as Markdown (for $GITHUB_STEP_SUMMARY).",
)
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default=True,
    help="Prometheus endpoint on loopback; 0: any free port.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print what would be sent (rates, tokens, bytes, dollars at most), and send nothing.",
)
@click.option("--json", "print_json", is_flag=True, help="Print the summary as JSON on stdout.")
@click.option("--quiet", is_flag=True, help="No progress line.")
def command(
    scenario: str | None,
    *,
    worker: bool,
    master_host: str,
    master_port: int,
    dry_run: bool,
    tiers: str | None,
    **flags: Any,
) -> None:
    """Run SCENARIO (a shipped name or a YAML file) against a target, measure it, and write a run directory.

    Exit: 0 every gate passes or none is asked, 1 error, 2 bad input, 3 gate failed, 4 inconclusive,
    5 INVALID run, 6 stopped by its budget, 130 interrupted.
    """
    # nothing in a run multiplies matrices; numpy's idle threads would spin on the cores that it starts on
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from servebench.drive import launch
    from servebench.drive.start import RunRequest, start, tier_ids, tiers_of

    if worker:
        launch.become_locust(launch.worker_command(master_host=master_host, master_port=master_port))
    if scenario is None:
        raise click.UsageError("Missing argument 'SCENARIO': a shipped name or a YAML file.")
    names = tier_ids(tiers) if tiers else ()
    if names and flags["model"]:
        raise click.UsageError("--tiers and --model exclude each other.")
    request = RunRequest(scenario=scenario, master_port=master_port, tiers=names, **flags)
    if dry_run:
        from servebench.drive.dry_run import dry_run as show_forecast

        sys.exit(show_forecast(request))
    if models := tiers_of(request):
        from servebench.drive.matrix import run_matrix

        sys.exit(run_matrix(request, models))
    start(request, spawn=False)
