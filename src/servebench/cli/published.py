"""`servebench calibrate --published`: one published speed becomes a tier profile, with what was solved, what
was assumed and what is MODELLED."""

import datetime
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from servebench.catalog.hardware import Gpu
from servebench.catalog.load import Catalog
from servebench.catalog.profile import profile_text
from servebench.catalog.provenance import Kind, Source
from servebench.catalog.tiers import OperatingPoint, Tier
from servebench.errors import OperationError, UsageError
from servebench.plan.calibration import (
    GPU_COUNTS,
    Calibration,
    CalibrationError,
    calibrate_published,
)
from servebench.results.files import write_bytes

DEFAULT_BATCH, DEFAULT_CONTEXT_TOKENS = 32, 64_000


@dataclass(frozen=True, slots=True)
class Request:
    """What the flags ask; None: the tier's own."""

    tier_id: str
    speed_tokens_per_s: float | None
    batch: int | None
    context_tokens: int | None
    gpus: int | None
    contexts: int
    drafts: int | None
    accepted: float | None
    source: str | None
    out: Path | None
    as_json: bool


def run(catalog: Catalog, request: Request) -> None:
    """Solves, prints and writes. Raises UsageError on flags that contradict each other, OperationError where
    the speed can't be met."""
    tier = _with_drafts(catalog.tier(request.tier_id), request)
    gpu = catalog.gpu(tier.serving.gpu_id)
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    point, speed_source = _point(tier, request, today)
    try:
        found = calibrate_published(
            tier,
            gpu,
            point,
            speed_source=speed_source,
            date=today,
            gpu_counts=GPU_COUNTS if request.gpus is None else (request.gpus,),
            contexts=request.contexts,
        )
    except CalibrationError as error:
        raise OperationError(str(error)) from None
    if request.out is not None:
        head = f"{tier.name}, calibrated to a published {point.tokens_per_s:g} tokens/s."
        write_bytes(request.out, profile_text(found.tier, head=head).encode())
    answer = to_json(found, gpu)
    if request.as_json:
        click.echo(
            json.dumps(answer | {"profile": None if request.out is None else str(request.out)}, indent=2)
        )
    else:
        _print(found, gpu, answer, request.out)


def _with_drafts(tier: Tier, request: Request) -> Tier:
    if request.drafts is None and request.accepted is None:
        return tier
    drafts = tier.serving.draft_tokens if request.drafts is None else request.drafts
    accepted = 1.0 if request.accepted is None and drafts == 0 else request.accepted
    if accepted is None or not 1 <= accepted <= drafts + 1:
        raise UsageError(
            f"with --drafts {drafts} give --accepted, tokens per step with the bonus one: 1 to {drafts + 1}"
        )
    given = Source(Kind.ASSUMED, "given to servebench calibrate", tier.sources["draft_tokens"].date)
    serving = replace(tier.serving, draft_tokens=drafts, accepted_tokens=accepted)
    return replace(
        tier, serving=serving, sources={**tier.sources, "draft_tokens": given, "accepted_tokens": given}
    )


def _point(tier: Tier, request: Request, today: str) -> tuple[OperatingPoint, Source]:
    own = tier.operating_point
    if request.speed_tokens_per_s is None and own is None:
        raise UsageError(f"no speed of {tier.id} is published: give --speed, in output tokens/s of one user")
    speed = request.speed_tokens_per_s or (own.tokens_per_s if own is not None else 0.0)
    batch = request.batch or (own.batch if own is not None else DEFAULT_BATCH)
    context = request.context_tokens or (own.context_tokens if own is not None else DEFAULT_CONTEXT_TOKENS)
    if context > tier.context_length_tokens:
        raise UsageError(
            f"--context {context} is beyond the window of {tier.id}, {tier.context_length_tokens}"
        )
    if batch > tier.serving.max_num_seqs:
        raise UsageError(
            f"--batch {batch} is more than a replica of {tier.id} runs at once, {tier.serving.max_num_seqs}"
        )
    if request.source is not None:
        source = Source(Kind.PUBLISHED, request.source, today)
    elif own is not None and speed == own.tokens_per_s:
        source = tier.sources["operating_point"]
    else:
        source = Source(Kind.ASSUMED, "given to servebench calibrate as --speed", today)
    return OperatingPoint(batch, context, speed), source


def to_json(found: Calibration, gpu: Gpu) -> dict[str, Any]:
    """What was solved, where, from which tries, and what of the rest is assumed or MODELLED."""
    from servebench.engine.step_time import StepTimeModel

    tier, point = found.tier, found.tier.operating_point
    assert point is not None
    parts = StepTimeModel(tier.shape, tier.serving, gpu).step(point.batch, point.batch * point.context_tokens)
    return {
        "tier": tier.id,
        "gpu_id": gpu.id,
        "gpus": tier.serving.gpus,
        "operating_point": {
            "batch": point.batch,
            "context_tokens": point.context_tokens,
            "tokens_per_s_per_user": point.tokens_per_s,
        },
        "solved": tier.solved,
        "layer_latency_us": tier.serving.layer_latency_s * 1e6,
        "draft_tokens": tier.serving.draft_tokens,
        "accepted_tokens": tier.serving.accepted_tokens,
        "attempts": [
            {
                "gpus": attempt.gpus,
                "contexts_1m": attempt.contexts,
                "layer_latency_us": None
                if attempt.layer_latency_s is None
                else attempt.layer_latency_s * 1e6,
                "accepted": attempt.believed,
            }
            for attempt in found.attempts
        ],
        "step_parts_us": {name: seconds * 1e6 for name, seconds in parts._asdict().items()},
        "kinds": by_kind(tier.sources),
    }


def by_kind(sources: Mapping[str, Source]) -> dict[str, list[str]]:
    """Names of the tier's numbers under the kind of their source."""
    kinds: dict[str, list[str]] = {str(kind): [] for kind in Kind}
    for name, source in sources.items():
        kinds[str(source.kind)].append(name)
    return kinds


def _print(found: Calibration, gpu: Gpu, answer: Mapping[str, Any], out: Path | None) -> None:
    tier, point = found.tier, found.tier.operating_point
    assert point is not None
    for attempt in found.attempts:
        if attempt.layer_latency_s is None:
            verdict = "holds too few contexts"
        else:
            verdict = f"{attempt.layer_latency_s * 1e6:.1f} us per layer: " + (
                "accepted" if attempt.believed else "not believed (30..150 us)"
            )
        click.echo(f"{attempt.gpus:3} x {gpu.name}: {attempt.contexts} contexts of 1M tokens; {verdict}")
    click.echo(
        f"solved: layer_latency_s = {tier.serving.layer_latency_s * 1e6:.3f} us, so that {point.batch} "
        f"sequences of {point.context_tokens:,} tokens run at {point.tokens_per_s:g} tokens/s each on "
        f"{tier.serving.gpus} x {gpu.name}"
    )
    parts = ", ".join(
        f"{name.removesuffix('_s')} {us:.0f}" for name, us in answer["step_parts_us"].items() if us
    )
    click.echo(f"one step, us: {parts}")
    for kind in (Kind.ASSUMED, Kind.MODELLED):
        click.echo(f"{kind}: {', '.join(answer['kinds'][str(kind)])}")
    click.echo("One published number solves one parameter; latency, GPU count and accepted tokens trade off.")
    if out is not None:
        click.echo(f"profile: {out} (`servebench mock --profile {out}`, `servebench plan --profile {out}`)")
