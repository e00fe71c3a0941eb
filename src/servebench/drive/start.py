"""From what the user asked to a running Locust: check everything, start the mock if it is the target, go."""

import sys
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from servebench.catalog.load import load_catalog
from servebench.catalog.prices import PriceSheet
from servebench.catalog.sheet_json import sheet_to_json
from servebench.drive import launch, targets
from servebench.drive.confirm import check_budget, confirm, is_paid
from servebench.drive.options import build_plan, check_window, free_run_dir
from servebench.drive.pricing import listed_sheet, price_note, price_sheet
from servebench.drive.retries import On429
from servebench.drive.settings import RunSettings
from servebench.errors import UsageError
from servebench.results.redaction import redact_command
from servebench.results.slo import parse_goodput, parse_slos
from servebench.workload.measure import Tokenizer
from servebench.workload.plan import TraceArrays, WorkloadPlan
from servebench.workload.scenario import load_scenario
from servebench.workload.traces import read_trace


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """The flags of `servebench run`, with its defaults. rate_scale and trace_start_s go with a trace.

    processes 0: one process does it all; master: expect_workers join from other hosts instead.
    all_tiers: the mock serves every tier, not only the model's. mock_flags: more of `servebench mock`'s.
    tiers: of a matrix (drive/matrix.py).
    """

    scenario: str
    target: str = "mock"
    model: str | None = None
    tiers: tuple[str, ...] = ()
    rate_rps: float | None = None
    users: int | None = None
    duration_s: float | None = None
    warmup_s: float | None = None
    task_grace_s: float | None = None
    cooldown_s: float = 0.0
    trace: str | None = None
    trace_start_s: float = 0.0
    rate_scale: float = 1.0
    trace_speed: float = 1.0
    prompts: str | None = None
    tokenizer: Tokenizer = "bytes"
    seed: int = 1
    slo: tuple[str, ...] = ()
    goodput: tuple[str, ...] = ()
    processes: int = 1
    master: bool = False
    expect_workers: int = 1
    master_bind_host: str = "127.0.0.1"
    master_port: int = 5557
    max_in_flight: int = 10_000
    grace_s: float = 30.0
    replicas: int = 1
    profiles: tuple[str, ...] = ()
    all_tiers: bool = False
    mock_flags: tuple[str, ...] = ()
    web: bool = False
    web_port: int = 8089
    out: str | None = None
    junit: str | None = None
    markdown: str | None = None
    metrics_port: int = 0
    print_json: bool = False
    quiet: bool = False
    api: Literal["chat", "responses"] = "chat"
    max_cost_usd: Decimal | None = None
    max_reasoning_tokens: int | None = None
    price_sheet: str | None = None
    refresh_prices: bool = False
    retries: int = 0
    on_429: On429 = "respect"
    warm_connections: int = 0
    ca_file: str | None = None
    yes: bool = False


def start(request: RunRequest, *, spawn: bool, silent: bool = False) -> int:
    """Run it. spawn: wait for Locust and return its exit code (silent: with nothing on stdout); else become
    Locust and never return.

    Raises UsageError or OperationError before anything is written where the input or the target is at fault.
    """
    plan, model = checked_plan(request)
    run_dir = _run_dir(request, plan)
    mock = _mock(request, model, wait=spawn or request.refresh_prices) if request.target == "mock" else None
    try:
        begun = mock is not None and not mock.listens
        settings = _settings(request, plan, run_dir, mock)
        if request.max_cost_usd is not None or is_paid(settings):
            workload = plan.build()
            check_budget(settings, workload)
            confirm(settings, workload, yes=request.yes)
        web_port = request.web_port if request.web else None
        mock_fds = launch.hand_over(mock) if mock is not None and begun else ""
        command = launch.locust_command(
            settings, workers=_workers(request), web_port=web_port, mock_fds=mock_fds
        )
        if not spawn:
            launch.become_locust(command)
        return launch.wait_for_locust(command, silent=silent)
    finally:
        if mock is not None:
            mock.stop()


def _settings(
    request: RunRequest, plan: WorkloadPlan, run_dir: Path, mock: launch.MockProcess | None
) -> RunSettings:
    """Asks the target for its list of models, which costs nothing. Raises UsageError or OperationError."""
    url, kind = _target(request, mock)
    model = plan.model or plan.scenario.model
    listens = mock is None or mock.listens  # a mock of ours that is still starting needs no question
    entry = targets.check_target(url, model, ca_file=request.ca_file) if listens else None
    if targets.is_xai(url) or request.refresh_prices:
        targets.check_key(url, ca_file=request.ca_file)
    sheet, notes = _prices(request, url, model, entry)
    scale = targets.time_scale(url, ca_file=request.ca_file) if listens and kind == "other" else None
    if scale not in (None, 1):
        notes = (*notes, f"the target is a mock at {scale:g} times the speed: so are its latencies")
    return RunSettings(
        plan=plan,
        target_url=url,
        target_kind=kind,
        time_scale=scale,
        price_date=None if sheet is None else sheet.as_of,
        run_dir=str(run_dir),
        run_id=run_dir.name,
        slo=request.slo,
        goodput=request.goodput,
        command=tuple(redact_command(sys.argv)),
        junit=request.junit,
        markdown=request.markdown,
        print_json=request.print_json,
        quiet=request.quiet,
        metrics_port=request.metrics_port,
        cooldown_s=request.cooldown_s,
        max_in_flight=request.max_in_flight,
        grace_s=request.grace_s,
        max_cost_usd=None if request.max_cost_usd is None else format(request.max_cost_usd, "f"),
        max_reasoning_tokens=request.max_reasoning_tokens,
        price_sheet=None if sheet is None else sheet_to_json(sheet),
        retries=request.retries,
        on_429=request.on_429,
        warm_connections=request.warm_connections,
        ca_file=request.ca_file,
        notes=notes,
    )


def _prices(
    request: RunRequest, url: str, model: str, entry: dict[str, Any] | None
) -> tuple[PriceSheet | None, tuple[str, ...]]:
    """The sheet that bills the run, and what is to be said of it."""
    known = price_sheet(model, url, spec=request.price_sheet)
    if not request.refresh_prices:
        return known, ()
    fresh = None if entry is None else listed_sheet(entry, known, url=url)
    if fresh is None:
        raise UsageError(f"--refresh-prices: target {url} lists no price of {model!r}; leave the flag out")
    note = price_note(fresh, known)
    if not request.quiet:
        sys.stderr.write(f"servebench: {note}\n")
    return fresh, (note,)


def tier_ids(text: str) -> tuple[str, ...]:
    """Of --tiers: ids between commas, or all of the catalog's. Raises UsageError for none."""
    if text.strip() == "all":
        return tuple(load_catalog().tiers)
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise UsageError("--tiers: give model ids between commas, or all")
    return names


def tiers_of(request: RunRequest) -> tuple[str, ...]:
    """The models of a matrix: --tiers, else the scenario's; () for a run of one model."""
    if request.tiers:
        return request.tiers
    return load_scenario(request.scenario).tiers if request.model is None else ()


def checked_plan(request: RunRequest) -> tuple[WorkloadPlan, str]:
    """The plan and the model it asks for; every text is checked, nothing is started."""
    if request.users is not None and (request.rate_rps is not None or request.trace is not None):
        raise UsageError("--users is a closed loop, --rate and --trace are open: give one of them")
    if request.rate_rps is not None and request.trace is not None:
        raise UsageError("--trace has its own rate: scale it with --rate-scale instead of --rate")
    scenario = load_scenario(request.scenario)
    parse_slos(request.slo, classes=[cls.name for cls in scenario.classes])
    parse_goodput(request.goodput)
    model = request.model or scenario.model
    plan = build_plan(
        scenario,
        model=model,
        seed=request.seed,
        rate_rps=request.rate_rps,
        users=request.users,
        duration_s=request.duration_s,
        warmup_s=request.warmup_s,
        task_grace_s=request.task_grace_s,
        trace=_trace(request),
        prompts=request.prompts,
        api=request.api,
        tokenizer=request.tokenizer,
    )
    check_window(plan, request.cooldown_s)
    plan.build()  # contradictions show here, before anything is started
    return plan, model


def _trace(request: RunRequest) -> TraceArrays | None:
    if request.trace is None:
        return None
    speed, duration_s = request.trace_speed, request.duration_s
    trace = read_trace(
        request.trace,
        start_s=request.trace_start_s,
        duration_s=None if duration_s is None else duration_s * speed,
        rate_scale=request.rate_scale,
        seed=request.seed,
    )
    return trace.faster(speed).arrays()


def _run_dir(request: RunRequest, plan: WorkloadPlan) -> Path:
    if request.out is None:
        return free_run_dir(plan.scenario.name, request.seed)
    run_dir = Path(request.out)
    if (run_dir / "manifest.json").exists():
        raise UsageError(f"{run_dir} already holds a run: give another --out")
    return run_dir


def _mock(request: RunRequest, model: str, *, wait: bool) -> launch.MockProcess:
    """wait False: it starts while Locust does, which looks for it before the first request."""
    tiers = [] if request.all_tiers else ["--tier", model]
    profiles = [flag for path in request.profiles for flag in ("--profile", path)]
    flags = [*tiers, *profiles, "--replicas", str(request.replicas), "--seed", str(request.seed)]
    flags += request.mock_flags
    if wait or profiles:
        return launch.start_mock(flags)
    load_catalog().tier(model)
    return launch.begin_mock(flags, port=launch.free_port())


def _workers(request: RunRequest) -> launch.Workers:
    if request.master:
        return launch.Workers(
            count=request.expect_workers,
            forked=False,
            bind_host=request.master_bind_host,
            port=request.master_port,
        )
    return launch.Workers(count=request.processes)


def _target(
    request: RunRequest, mock: launch.MockProcess | None
) -> tuple[str, Literal["mock", "xai", "other"]]:
    if mock is not None:
        return mock.url, "mock"
    url = targets.resolved(request.target)
    return url, "xai" if targets.is_xai(url) else "other"
