"""Calibration to one published speed: it solves one parameter, the latency floor of a layer (tau).

    1 / v = t_step / a, and t_step is affine in tau:  tau = (a/v - t_0) / t',  t_0 = t_step at tau = 0

tau, accepted tokens and GPU count are degenerate in one number, so a profile stores which was solved and the
operating point it was solved at, and everything else is chosen first: the GPU count is the smallest that
holds the weights and the wanted contexts and needs a believable tau. Measured on public stacks: 48-105 us a
layer, so 30..150 us is believed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from servebench.catalog.hardware import Gpu
from servebench.catalog.provenance import Kind, Source
from servebench.catalog.tiers import ModelShape, OperatingPoint, ServingProfile, Tier
from servebench.engine.step_time import StepTimeModel

LAYER_LATENCY_RANGE_S = (30e-6, 150e-6)
GPU_COUNTS = (4, 8, 16, 32, 64, 72)
LONG_CONTEXT_TOKENS = 1_000_000


class CalibrationError(ValueError):
    """The published speed can't be met by a believable latency per layer: the profile itself is wrong."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One GPU count. contexts: whole 1M contexts its KV pool holds; layer_latency_s: None where it holds too
    few."""

    gpus: int
    contexts: int
    layer_latency_s: float | None

    @property
    def believed(self) -> bool:
        low_s, high_s = LAYER_LATENCY_RANGE_S
        return self.layer_latency_s is not None and low_s <= self.layer_latency_s <= high_s


@dataclass(frozen=True, slots=True)
class Calibration:
    """The tier as solved, and every GPU count that was tried on the way."""

    tier: Tier
    attempts: tuple[Attempt, ...]


def calibrate_published(
    tier: Tier,
    gpu: Gpu,
    point: OperatingPoint,
    *,
    speed_source: Source,
    date: str,
    gpu_counts: Sequence[int] = GPU_COUNTS,
    contexts: int = 8,
) -> Calibration:
    """tier with the fewest of gpu_counts and the tau at which it runs at the published point.

    contexts: 1M contexts the replica must hold. Raises CalibrationError where no count will do, saying what
    each would need.
    """
    attempts = []
    for gpus in sorted(gpu_counts):
        serving = on_gpus(tier.serving, gpus)
        held = StepTimeModel(tier.shape, serving, gpu).kv_pool_tokens() // LONG_CONTEXT_TOKENS
        tau_s = layer_latency_s(tier.shape, serving, gpu, point) if held >= max(contexts, 1) else None
        attempts.append(Attempt(gpus, held, tau_s))
        if attempts[-1].believed:
            return Calibration(_solved(tier, attempts[-1], point, speed_source, date), tuple(attempts))
    raise CalibrationError(_refusal(attempts, gpu, point, contexts))


def on_gpus(serving: ServingProfile, gpus: int) -> ServingProfile:
    """The profile on so many GPUs: KV that was sharded over all of them stays so."""
    sharded = serving.kv_shards == serving.gpus
    return replace(serving, gpus=gpus, kv_shards=float(gpus) if sharded else min(serving.kv_shards, gpus))


def layer_latency_s(shape: ModelShape, serving: ServingProfile, gpu: Gpu, point: OperatingPoint) -> float:
    """tau in seconds, whatever it comes to; negative where the rest alone is too slow."""
    context_tokens = point.batch * point.context_tokens

    def step_s(tau_s: float) -> float:
        model = StepTimeModel(shape, replace(serving, layer_latency_s=tau_s), gpu)
        return model.step(point.batch, context_tokens).total_s

    rest_s = step_s(0.0)
    per_tau = step_s(1.0) - rest_s
    return (serving.accepted_tokens / point.tokens_per_s - rest_s) / per_tau


def solve_layer_latency(shape: ModelShape, serving: ServingProfile, gpu: Gpu, point: OperatingPoint) -> float:
    """tau in seconds, at which a steady batch of point.batch sequences of point.context_tokens runs at
    point.tokens_per_s per user. Raises CalibrationError outside 30..150 us."""
    attempt = Attempt(serving.gpus, 0, layer_latency_s(shape, serving, gpu, point))
    if not attempt.believed or attempt.layer_latency_s is None:
        raise CalibrationError(_refusal([attempt], gpu, point, 0))
    return attempt.layer_latency_s


def _solved(tier: Tier, attempt: Attempt, point: OperatingPoint, speed_source: Source, date: str) -> Tier:
    assert attempt.layer_latency_s is not None
    low_s, high_s = LAYER_LATENCY_RANGE_S
    text = (
        f"calibrated: solved from {point.tokens_per_s:g} tokens/s, taken to mean {point.batch} sequences of "
        f"{point.context_tokens} tokens of context"
    )
    gpus_text = f"the fewest of {', '.join(map(str, GPU_COUNTS))} that hold it and need a believable latency"
    serving = replace(on_gpus(tier.serving, attempt.gpus), layer_latency_s=round(attempt.layer_latency_s, 9))
    sources = dict(tier.sources)
    sources["layer_latency_s"] = Source(Kind.DERIVED, text, date, low=low_s, high=high_s)
    sources["operating_point"] = speed_source
    if attempt.gpus != tier.serving.gpus:
        sources["gpus"] = Source(Kind.ASSUMED, gpus_text, date)
        band = tier.sources["kv_shards"]
        sources["kv_shards"] = replace(band, low=1.0, high=float(attempt.gpus))
    return replace(tier, serving=serving, operating_point=point, solved="layer_latency_s", sources=sources)


def _refusal(attempts: Sequence[Attempt], gpu: Gpu, point: OperatingPoint, contexts: int) -> str:
    low_s, high_s = LAYER_LATENCY_RANGE_S
    said = [
        f"{a.gpus} x {gpu.name} would need {a.layer_latency_s * 1e6:.0f} us per layer"
        if a.layer_latency_s is not None
        else f"{a.gpus} x {gpu.name} hold {a.contexts} contexts of 1M tokens, not {contexts}"
        for a in attempts
    ]
    return (
        f"{point.tokens_per_s:g} tokens/s at {point.batch} x {point.context_tokens} tokens: "
        f"{'; '.join(said)}. Believed are {low_s * 1e6:.0f}..{high_s * 1e6:.0f} us: "
        "change the GPU count, the accepted tokens or the operating point"
    )
