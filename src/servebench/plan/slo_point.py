"""A replica at its SLO point in closed form, the whole curve of such points, and the same on other GPUs.

Quick and without queues: for what must be computed many times (bands, curves, clusters); the simulation
says where on it a tier stands.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from servebench.catalog.hardware import Gpu
from servebench.catalog.tiers import Tier
from servebench.engine.step_time import StepTimeModel
from servebench.plan.steady_state import SteadyState, largest_batch, steady_state
from servebench.results.slo import Slo

NODE_GPUS = 8  # that one NVLink domain of a rack without NVL72 joins
RACK_GPUS = 72
WIDTHS = (4, 8, 16, 24, 32, 48, 64, 72, 96, 128, 192, 256)


@dataclass(frozen=True, slots=True)
class Lengths:
    """Mean tokens of one call; cached_tokens of the prompt are found in the prefix cache."""

    prompt_tokens: float
    output_tokens: float
    cached_tokens: float = 0.0


@dataclass(frozen=True, slots=True)
class Placement:
    """A tier on so many GPUs of a kind, and what a replica then does at its SLO point."""

    tier: Tier
    gpu: Gpu
    at: SteadyState

    @property
    def gpus(self) -> int:
        return self.tier.serving.gpus


def tpot_limit_s(slos: Sequence[Slo]) -> float:
    """The tightest limit on TPOT among the objectives, that on interactivity included; inf without any."""
    limits = [slo.limit for slo in slos if slo.metric == "tpot"]
    limits += [1 / slo.limit for slo in slos if slo.metric == "interactivity" and slo.limit > 0]
    return min(limits, default=float("inf"))


def slo_point(tier: Tier, gpu: Gpu, lengths: Lengths, *, limit_s: float) -> SteadyState | None:
    """The largest batch within the TPOT limit; None where one sequence alone is too slow, or does not fit."""
    try:
        return largest_batch(
            StepTimeModel(tier.shape, tier.serving, gpu),
            tpot_limit_s=limit_s,
            prompt_tokens=lengths.prompt_tokens,
            output_tokens=max(lengths.output_tokens, 2.0),
            cached_tokens=lengths.cached_tokens,
        )
    except ValueError:
        return None


def curve(tier: Tier, gpu: Gpu, lengths: Lengths) -> list[SteadyState]:
    """Points from one sequence to as many as fit, each faster for its users than the next and dearer."""
    model = StepTimeModel(tier.shape, tier.serving, gpu)
    most = min(
        model.serving.max_num_seqs,
        int(model.kv_pool_tokens() / (lengths.prompt_tokens + lengths.output_tokens)),
    )
    found: list[SteadyState] = []
    for batch in sorted({most, *(round(2 ** (k / 2)) for k in range(40))}):
        if not 1 <= batch <= most:
            continue
        try:
            point = steady_state(
                model,
                batch,
                prompt_tokens=lengths.prompt_tokens,
                output_tokens=max(lengths.output_tokens, 2.0),
                cached_tokens=lengths.cached_tokens,
            )
        except ValueError:  # more prompts a step than it may hold: there is no larger steady batch
            break
        if not found or point.tokens_per_s > found[-1].tokens_per_s:
            found.append(point)
    return found


def placed(tier: Tier, gpu: Gpu, *, gpus: int) -> tuple[Tier, Gpu]:
    """The tier's profile on so many GPUs of another kind: KV sharded in the same proportion.

    Past one NVLink domain all traffic between GPUs is taken to go over the scale-out network (pessimistic).
    """
    serving = tier.serving
    shards = max(1.0, serving.kv_shards * gpus / serving.gpus)
    moved = replace(tier, serving=replace(serving, gpu_id=gpu.id, gpus=gpus, kv_shards=shards))
    domain = RACK_GPUS if "nvl72" in gpu.name.lower() else NODE_GPUS
    if gpus > domain:
        gpu = replace(gpu, nvlink_bytes_per_s=gpu.scaleout_bytes_per_s)
    return moved, gpu


def cheapest_placement(tier: Tier, gpu: Gpu, lengths: Lengths, *, limit_s: float) -> Placement | None:
    """The width at which a GPU of this kind does the most tokens within the limit; None where none meets
    it.
    """
    best: Placement | None = None
    for gpus in WIDTHS:
        moved, linked = placed(tier, gpu, gpus=gpus)
        at = slo_point(moved, linked, lengths, limit_s=limit_s)
        if at is None:
            continue
        if best is None or at.tokens_per_s / gpus > best.at.tokens_per_s / best.gpus:
            best = Placement(moved, linked, at)
    return best
