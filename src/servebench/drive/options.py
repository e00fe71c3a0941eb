"""What plain `locust` understands besides its own flags, and the settings that follow from them.

`servebench run` hands over a whole RunSettings file instead (--servebench-run), so that both ways end in
the same value.
"""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from servebench.catalog.load import load_catalog
from servebench.catalog.sheet_json import sheet_to_json
from servebench.drive.confirm import check_budget, is_paid
from servebench.drive.pricing import price_sheet
from servebench.drive.settings import RunSettings
from servebench.drive.targets import is_xai, normalise_url
from servebench.errors import UsageError
from servebench.results.redaction import redact_command
from servebench.results.run_directory import MANIFEST, default_run_dir
from servebench.results.slo import parse_goodput, parse_slos
from servebench.workload.plan import WorkloadPlan
from servebench.workload.prompt_files import load_prompts
from servebench.workload.scenario import Scenario, load_scenario

# assumed, for models outside the catalog
DEFAULT_BYTES_PER_TOKEN = 4.0
DEFAULT_CONTEXT_TOKENS = 1_000_000

MAX_SEED = 2**63 - 1  # JSON's integers in a manifest end there
_LEAD_S = 0.5  # from Locust's start of a test to T0, and some more


def add_arguments(parser: Any) -> None:
    add = parser.add_argument  # not in a group: only the parser itself knows include_in_web_ui
    add("--servebench-run", default="", help="Run file of `servebench run`", include_in_web_ui=False)
    add("--servebench-mock", default="", help="Where its mock speaks", include_in_web_ui=False)
    add("--scenario", default="", help="Scenario name or YAML file, where the locustfile names none")
    add("--model", default="", help="Model to ask for (default: the scenario's)")
    add("--rate", type=float, default=0.0, help="Open loop: arrivals per second (default 0: closed loop)")
    add("--duration", type=float, default=0.0, help="With --rate: seconds of arrivals; ends after the last")
    add("--task-grace", type=float, default=-1.0, help="Seconds for sessions to finish (-1: the scenario's)")
    add("--tokenizer", default="bytes", choices=["bytes", "o200k"], help="By what prompts are sized")
    add("--prompts", default="", help="Send these prompts: JSONL of messages, ShareGPT, or a directory")
    add("--warmup", type=float, default=-1.0, help="Seconds left out at the start (default: none under 60 s)")
    add("--cooldown", type=float, default=0.0, help="Seconds left out at the end, load running on")
    add("--seed", type=int, default=1, help="Seed of arrivals, lengths and prompts")
    add("--slo", action="append", default=[], help='Gate, e.g. "ttft p99 < 2s"', include_in_web_ui=False)
    add("--goodput", action="append", default=[], help="Limits in ms, e.g. ttft:500", include_in_web_ui=False)
    add("--max-cost", default="", help="Hard budget in USD; the run ends when no request fits any more")
    add("--yes", action="store_true", help="Load a target that costs money", include_in_web_ui=False)
    add("--out", default="", help="Run directory (default runs/<UTC>-<scenario>-<seed>)")
    add("--metrics-port", type=int, default=0, help="Prometheus endpoint (default 0: any free port)")


def build_plan(
    scenario: Scenario,
    *,
    model: str | None,
    seed: int,
    rate_rps: float | None = None,
    users: int | None = None,
    duration_s: float | None = None,
    prompts: str | None = None,
    **more: Any,
) -> WorkloadPlan:
    """A WorkloadPlan with the model's figures of the catalog. prompts: a path, in place of the scenario's.

    Raises UsageError with all problems.
    """
    if not 0 <= seed <= MAX_SEED:
        raise UsageError(f"--seed {seed}: must be from 0 to {MAX_SEED}")
    name = model or scenario.model
    try:
        tier = load_catalog().tier(name)
        shape: dict[str, Any] = {
            "bytes_per_token": tier.bytes_per_token,
            "preamble_tokens": tier.preamble_tokens,
            "context_length_tokens": tier.context_length_tokens,
        }
    except UsageError:
        shape = {
            "bytes_per_token": DEFAULT_BYTES_PER_TOKEN,
            "preamble_tokens": 0,
            "context_length_tokens": DEFAULT_CONTEXT_TOKENS,
        }
    prompts = prompts or scenario.prompts
    try:
        return WorkloadPlan(
            scenario=scenario,
            prompts=None if prompts is None else load_prompts(prompts),
            seed=seed,
            model=name,
            rate_rps=rate_rps,
            users=users,
            duration_s=duration_s,
            **shape,
            **more,
        )
    except ValidationError as error:
        raise UsageError(
            *(f"{'.'.join(map(str, e['loc'])) or 'plan'}: {e['msg']}" for e in error.errors())
        ) from None


def check_window(plan: WorkloadPlan, cooldown_s: float) -> None:
    """Raises UsageError where warm-up and cool-down leave nothing of the run."""
    if cooldown_s and plan.warmup + cooldown_s >= plan.duration:
        raise UsageError(
            f"the warm-up of {plan.warmup:g} s and the cool-down of {cooldown_s:g} s leave nothing of a run "
            f"of {plan.duration:g} s"
        )


def free_run_dir(scenario: str, seed: int) -> Path:
    """The default run directory; two runs in one second get two."""
    return _untaken(default_run_dir(datetime.now(UTC), scenario, seed), Path.exists)


def in_own_directory(settings: RunSettings) -> RunSettings:
    """With the next free directory where theirs holds a run: the web UI can start one test after another."""
    run_dir = _untaken(Path(settings.run_dir), lambda path: (path / MANIFEST).exists())
    return settings.model_copy(update={"run_dir": str(run_dir), "run_id": run_dir.name})


def _untaken(first: Path, taken: Callable[[Path], bool]) -> Path:
    path, n = first, 1
    while taken(path):
        n += 1
        path = first.with_name(f"{first.name}-{n}")
    return path


def settings_from_options(environment: Any, scenario_name: str | None) -> RunSettings:
    """RunSettings from Locust's parsed options. Raises UsageError."""
    options = environment.parsed_options
    if options.servebench_run:
        return RunSettings.model_validate_json(Path(options.servebench_run).read_text(encoding="utf-8"))
    name = options.scenario or scenario_name
    if not name:
        raise UsageError("no scenario: give --scenario NAME or FILE, or a locustfile that names one")
    if not environment.host:
        raise UsageError("no target: give --host http://HOST:PORT (start one with `servebench mock`)")
    url = normalise_url(environment.host)
    scenario = load_scenario(name)
    parse_slos(options.slo)
    parse_goodput(options.goodput)
    run_dir = Path(options.out) if options.out else free_run_dir(scenario.name, options.seed)
    open_loop = options.rate > 0
    plan = build_plan(
        scenario,
        model=options.model or None,
        seed=options.seed,
        rate_rps=options.rate if open_loop else None,
        users=None if open_loop else max(int(options.num_users or 1), 1),
        duration_s=_duration_s(options, open_loop),
        prompts=options.prompts or None,
        tokenizer=options.tokenizer,
        task_grace_s=options.task_grace if options.task_grace >= 0 else None,
        warmup_s=options.warmup if options.warmup >= 0 else None,
    )
    check_window(plan, options.cooldown)
    sheet = price_sheet(options.model or scenario.model, url)
    settings = RunSettings(
        plan=plan,
        cooldown_s=options.cooldown,
        target_url=url,
        target_kind="xai" if is_xai(url) else "other",
        price_date=None if sheet is None else sheet.as_of,
        price_sheet=None if sheet is None else sheet_to_json(sheet),
        max_cost_usd=options.max_cost or None,
        run_dir=str(run_dir),
        run_id=run_dir.name,
        slo=tuple(options.slo),
        goodput=tuple(options.goodput),
        command=tuple(redact_command(sys.argv)),
        metrics_port=options.metrics_port,
        own_exit_codes=False,
    )
    check_budget(settings, plan.build())
    if is_paid(settings) and not (options.yes or options.max_cost):
        raise UsageError(f"a run at {url} costs money: give --max-cost USD to bound it, or --yes")
    return settings


def _duration_s(options: Any, open_loop: bool) -> float | None:
    """None: the scenario's. Locust's -t counts from before T0, and what is due after its end is never sent:
    arrivals end sooner.
    """
    if open_loop and options.duration > 0:
        return float(options.duration)
    if not options.run_time:
        return None
    run_time_s = float(options.run_time)
    return max(run_time_s - _LEAD_S, run_time_s / 2) if open_loop else run_time_s
