"""`servebench calibrate RUN`: a tier profile fitted to a measured run, with its errors."""

import datetime
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from servebench.catalog.load import Catalog
from servebench.catalog.provenance import Kind, Source
from servebench.catalog.tiers import Tier
from servebench.errors import UsageError

if TYPE_CHECKING:
    from servebench.plan.measured_load import MeasuredLoad
    from servebench.plan.replay_errors import Errors
    from servebench.plan.run_fit import RunFit

DEFAULT_BASE = "grok-4.3"
LEAST_LENGTHS = 50  # answers of one kind whose lengths are worth a distribution
GOOD = 0.05  # a percentile of the replay this far off is said to be so


@dataclass(frozen=True, slots=True)
class Request:
    """tier_id None: the run's own model where the catalog has it."""

    run: Path
    tier_id: str | None
    replicas: int
    out: Path | None
    as_json: bool


def run(catalog: Catalog, request: Request) -> None:
    """Fits, prints and writes. Raises UsageError on a run that can't be fitted to."""
    from servebench.catalog.profile import profile_text
    from servebench.plan.measured_load import measured_load
    from servebench.plan.run_fit import cited, fit_run
    from servebench.results.files import write_bytes
    from servebench.results.run_directory import read_run
    from servebench.results.summary import summarise_run

    found = read_run(request.run)
    load = measured_load(found, summarise_run(found, price_of=None))
    model = str(found.manifest.get("model") or "")
    base = _base(catalog, model, request.tier_id)
    gpu = catalog.gpu(base.serving.gpu_id)
    show = _progress(len(load), base)
    fitted = fit_run(load, base, gpu, replicas=request.replicas, on_trial=show)
    show(fitted.trials, -1.0)
    run_id = str(found.manifest.get("run_id") or request.run.name)
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    tier = cited(fitted, base, run_id=run_id, date=today)
    tier = _with_lengths(_named(tier, base, model), found.manifest, found.records, run_id=run_id, date=today)
    if request.out is not None:
        head = "\n".join([f"{tier.name}, as the run {run_id} measured it.", *_error_lines(fitted)])
        write_bytes(request.out, profile_text(tier, head=head).encode())
    answer = to_json(fitted, tier, base, load, request)
    if request.as_json:
        click.echo(json.dumps(answer, indent=2))
    else:
        _print(fitted, tier, base, load, request.out)


def _base(catalog: Catalog, model: str, asked: str | None) -> Tier:
    if asked is not None:
        return catalog.tier(asked)
    try:
        return catalog.tier(model)
    except UsageError:
        click.echo(
            f"{model or 'the run'} is no tier of the catalog: fitted on the shape of {DEFAULT_BASE} (--tier "
            "names another)",
            err=True,
        )
        return catalog.tier(DEFAULT_BASE)


def _named(tier: Tier, base: Tier, model: str) -> Tier:
    """Served under the run's own model name too, at the base's prices."""
    aliases = tier.aliases if model in ("", base.id, *tier.aliases) else (*tier.aliases, model)
    return replace(tier, aliases=aliases)


def _with_lengths(tier: Tier, manifest: Mapping[str, Any], records: Any, *, run_id: str, date: str) -> Tier:
    """Lengths of answers as the run had them, where it asked for no limit and had enough of them."""
    import numpy as np

    sources = dict(tier.sources)
    text = f"of the answers of the run {run_id}"
    free = [
        r.completion_tokens for r in records if r.ok and r.asked_output_tokens is None and not r.tool_calls
    ]
    free = [tokens for tokens in free if tokens]
    if len(free) >= LEAST_LENGTHS:
        logs = np.log(free)
        tier = replace(
            tier, output_tokens_mu=float(logs.mean()), output_tokens_sigma=float(max(logs.std(), 1e-3))
        )
        sources |= {n: Source(Kind.DERIVED, text, date) for n in ("output_tokens_mu", "output_tokens_sigma")}
    medians = dict(tier.reasoning_tokens)
    scenario = manifest.get("scenario")
    classes = scenario.get("classes") or () if isinstance(scenario, Mapping) else ()
    efforts = {str(c["name"]): c.get("reasoning_effort") or tier.default_reasoning_effort for c in classes}
    for effort in set(efforts.values()) & set(medians):
        thoughts = [r.reasoning_tokens for r in records if r.ok and efforts.get(r.class_name) == effort]
        thoughts = [tokens for tokens in thoughts if tokens]
        if len(thoughts) >= LEAST_LENGTHS:
            medians[effort] = float(np.median(thoughts))
            sources[f"reasoning_tokens.{effort}"] = Source(Kind.DERIVED, text, date)
    return replace(tier, reasoning_tokens=medians, sources=sources)


def to_json(
    fitted: "RunFit", tier: Tier, base: Tier, load: "MeasuredLoad", request: Request
) -> dict[str, Any]:
    """What was fitted, how well the replay agrees, and what the run could not tell."""
    return {
        "schema": 1,
        "run": str(request.run),
        "tier": tier.id,
        "aliases": list(tier.aliases),
        "base": base.id,
        "replicas": request.replicas,
        "requests": len(load),
        "requests_of_unknown_size": load.left_out,
        "requests_with_counted_tokens": load.counted,
        "trials": fitted.trials,
        "factors": dict(fitted.factors),
        "not_told_by_the_run": list(fitted.untold),
        "at_their_limit": list(fitted.at_limit),
        "ttft": _errors_json(fitted.ttft),
        "tpot": _errors_json(fitted.tpot),
        "ttft_of_the_base": _errors_json(fitted.before_ttft),
        "tpot_of_the_base": _errors_json(fitted.before_tpot),
        "tpot_by_load": [
            {"in_flight": n, "measured_s": measured, "replay_s": replay}
            for n, measured, replay in fitted.by_load
        ],
        "profile": None if request.out is None else str(request.out),
    }


def _errors_json(found: "Errors") -> dict[str, Any]:
    return {
        "median_abs_error": found.median_abs,
        "n": found.n,
        **{f"p{q * 100:g}_error": error for q, error in found.quantiles.items()},
        **{f"p{q * 100:g}_noise": apart for q, apart in found.noise.items()},
    }


def _error_lines(fitted: "RunFit") -> list[str]:
    """A line each for TTFT and TPOT."""
    return [
        f"{name}: median |error| {found.median_abs:.1%} of {found.n:,} requests; replay over run "
        + ", ".join(f"p{q * 100:g} {error:+.1%}{_noise(found, q)}" for q, error in found.quantiles.items())
        for name, found in (("TTFT", fitted.ttft), ("TPOT", fitted.tpot))
    ]


def _noise(found: "Errors", quantile: float) -> str:
    return f" (±{found.noise[quantile]:.1%})" if quantile in found.noise else ""


def _print(fitted: "RunFit", tier: Tier, base: Tier, load: "MeasuredLoad", out: Path | None) -> None:
    from servebench.cli.tables import console, table
    from servebench.plan.run_fit import KNOBS

    shown = table(
        f"{tier.name}, fitted to {len(load):,} requests", ("Number", "Base", "Fitted", "It is"), whole=()
    )
    for knob in KNOBS:
        kept = "the base's: the run can't tell" if knob.name in fitted.untold else ""
        for name in knob.fields:
            was, now = getattr(base.serving, name), getattr(tier.serving, name)
            shown.add_row(name, f"{was:.4g}", f"{now:.4g}", kept or knob.meaning)
    console().print(shown)
    for line in _error_lines(fitted):
        click.echo(line)
    click.echo("(±: by so much two runs of one server differ there, with the same requests and other noise)")
    before = fitted.before_ttft.median_abs, fitted.before_tpot.median_abs
    click.echo(f"the base profile, for comparison: TTFT {before[0]:.1%}, TPOT {before[1]:.1%}")
    for n, measured, replay in fitted.by_load:
        click.echo(f"  {n:4.0f} in flight: TPOT {measured * 1e3:.2f} ms, replayed {replay * 1e3:.2f} ms")
    for note in _notes(fitted, load):
        click.echo(f"note: {note}")
    if out is not None:
        click.echo(f"profile: {out} (`servebench mock --profile {out}`, `servebench plan --profile {out}`)")


def _notes(fitted: "RunFit", load: "MeasuredLoad") -> list[str]:
    notes = []
    far: dict[bool, list[str]] = {False: [], True: []}
    for name, found in (("TTFT", fitted.ttft), ("TPOT", fitted.tpot)):
        for q, error in found.quantiles.items():
            if abs(error) > GOOD:
                far[abs(error) <= found.noise.get(q, 0.0)].append(f"{name} p{q * 100:g}")
    if far[False]:
        notes.append(f"the replay is more than {GOOD:.0%} off at {', '.join(far[False])}")
    if far[True]:
        notes.append(
            f"the replay is more than {GOOD:.0%} off at {', '.join(far[True])}, by no more than two runs of "
            "one server differ: a longer run, or one at less load, would say it closer"
        )
    if fitted.at_limit:
        notes.append(f"at the edge of what is believed: {', '.join(fitted.at_limit)}")
    if load.counted:
        notes.append(f"the tokens of {load.counted} answers were counted by the client, for want of usage")
    if load.left_out:
        notes.append(f"{load.left_out} requests of unknown size are not in the replay")
    return notes


def _progress(requests: int, base: Tier) -> Callable[[int, float], None]:
    """On a terminal one line that rewrites itself; elsewhere one line at the start."""
    live = sys.stderr.isatty()
    click.echo(f"fitting {base.id} to {requests:,} requests by simulation ...", err=True)

    def show(trial: int, error: float) -> None:
        if live:
            text = f"trial {trial}, error {error:.3f}" if error >= 0 else ""
            click.echo(f"\r\033[K{text}", err=True, nl=False)

    return show
