"""A public model's deployment in seconds at peak rates: what physics says before any efficiency is assumed.

Every field is a plain number, so that many deployments stack into arrays (`stacked`) under one formula.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from servebench.catalog.hardware import Gpu
from servebench.engine.attention import attention_cost
from servebench.engine.deployment import Backend, Deployment

Array = NDArray[np.float64]
HOPPER = ("h100", "h200", "h800")  # the GPU generations whose launch latency differs
EP_BYTES = 3  # fp8 dispatch (1) and bf16 combine (2)
TP_BYTES = 2  # bf16 activations; an all-reduce moves them twice, two all-reduces a layer
NODE_GPUS, DOMAIN_GPUS = 8, 72  # of one NVLink domain


class Roofline(NamedTuple):
    """Of one replica; *_s are seconds at peak. Floats, or arrays of one entry per deployment."""

    dense_read_s: Array  # non-expert weights
    dense_s: Array  # per token over all GPUs
    head_s: Array  # vocabulary, per token that samples
    expert_read_s: Array  # all routed experts
    expert_s: Array  # per token
    routed: Array  # k/E, 0 for dense
    context_read_s: Array  # per context token
    context_s: Array
    window_read_s: Array  # per context token up to window_tokens
    window_tokens: Array
    sequence_read_s: Array
    pair_s: Array
    prefill_token_s: Array
    reduce_s: Array  # per token, all-reduces of tensor parallelism
    exchange_s: Array  # per token, all-to-all of expert parallelism
    layers: Array
    width: Array  # hidden / sqrt(tp): how large one GPU's matrices are
    groups: Array  # dp
    drafts: Array
    accepted: Array
    budget_tokens: Array
    poll_steps: Array
    sparse: Array  # 1 for MoE
    sharded_experts: Array  # 1 where moe_ep > 1
    alone: Array  # 1 for a single GPU
    hopper: Array
    trtllm: Array
    sglang: Array

    def take(self, index: NDArray[np.intp]) -> "Roofline":
        """The deployments at these places of the arrays."""
        return Roofline(*(column[index] for column in self))


def peak_flops(gpu: Gpu, bytes_per_parameter: float) -> float:
    """Dense peak for weights of that width; without fp4 units fp4 expands to fp8, MXFP4 experts to bf16."""
    if bytes_per_parameter >= 1.5:
        return gpu.flops_bf16
    if bytes_per_parameter >= 0.75:
        return gpu.flops_fp8
    if gpu.flops_fp4 is not None:
        return gpu.flops_fp4
    return gpu.flops_fp8 if bytes_per_parameter > 0.54 else gpu.flops_bf16


def roofline(deployment: Deployment) -> Roofline:
    """Raises nothing: any valid deployment has one, whether it fits in memory or not."""
    d, model, gpu = deployment, deployment.model, deployment.gpu
    G, hbm, attention = d.gpus, gpu.hbm_bytes_per_s, attention_cost(d)
    bf16 = gpu.flops_bf16
    copied = model.params_attention * d.attention_bytes + model.params_feed_forward * d.feed_forward_bytes
    dense_flop_s = model.params_attention / peak_flops(gpu, d.attention_bytes)
    dense_flop_s += model.params_feed_forward / peak_flops(gpu, d.feed_forward_bytes)
    routed = model.experts_active / model.experts if model.experts else 0.0
    values = {
        "dense_read_s": (copied + model.params_head * d.head_bytes) / d.tp / hbm,
        "dense_s": 2 * dense_flop_s / G,
        "head_s": 2 * model.params_head / bf16 / G,
        "expert_read_s": model.params_expert * d.expert_bytes / d.stage_gpus / hbm,
        "expert_s": 2 * model.params_expert * routed / peak_flops(gpu, d.expert_bytes) / G,
        "routed": routed,
        "context_read_s": attention.context_bytes / hbm,
        "context_s": attention.context_flop / bf16,
        "window_read_s": attention.window_bytes / hbm,
        "window_tokens": attention.window_tokens,
        "sequence_read_s": attention.sequence_bytes / hbm,
        "pair_s": attention.pair_flop / bf16,
        "prefill_token_s": attention.token_flop / bf16,
        "reduce_s": _reduce_s(d),
        "exchange_s": _exchange_s(d),
        "layers": model.layers,
        "width": model.hidden / d.tp**0.5,
        "groups": d.dp,
        "drafts": d.drafts,
        "accepted": d.accepted,
        "budget_tokens": d.budget_tokens,
        "poll_steps": d.poll_steps,
        "sparse": model.experts > 0,
        "sharded_experts": d.moe_ep > 1,
        "alone": G == 1,
        "hopper": gpu.id in HOPPER,
        "trtllm": d.backend is Backend.TRTLLM,
        "sglang": d.backend is Backend.SGLANG,
    }
    return Roofline(**{name: np.float64(value) for name, value in values.items()})  # type: ignore[arg-type]


def all_reduce_s(gpu: Gpu, layers: int, hidden: int, gpus: int) -> float:
    """Two all-reduces a layer among so many GPUs, each moving its bytes twice; per token at peak."""
    return 4 * layers * hidden * TP_BYTES * (gpus - 1) / gpus / gpu.nvlink_bytes_per_s


def all_to_all_s(
    gpu: Gpu, layers: int, hidden: int, gpus: int, *, reached: float, routed_nodes: int = 0
) -> float:
    """Each token to the GPUs its experts lie on (reached, at most all) and back, per token at peak; over the
    scale-out network where the experts span several NVLink domains, once to each node that the router may
    reach."""
    if gpus == 1:
        return 0.0
    reached, rate = min(reached, gpus), gpu.nvlink_bytes_per_s
    if gpus > (DOMAIN_GPUS if "nvl" in gpu.name.lower() else NODE_GPUS):
        reached, rate = min(reached, routed_nodes or reached), gpu.scaleout_bytes_per_s
    return layers / gpus * reached * hidden * EP_BYTES / rate


def _reduce_s(d: Deployment) -> float:
    return all_reduce_s(d.gpu, d.model.layers, d.model.hidden, d.tp) / (d.dp * d.pp)


def _exchange_s(d: Deployment) -> float:
    """Only beside data-parallel attention: under tensor parallelism every GPU has every token already."""
    model = d.model
    if not model.experts or d.dp == 1:
        return 0.0
    hidden, nodes = model.expert_hidden, model.routed_nodes
    each = all_to_all_s(
        d.gpu, model.expert_layers, hidden, d.stage_gpus, reached=model.experts_active, routed_nodes=nodes
    )
    return each / d.pp


def stacked(rooflines: Sequence[Roofline]) -> Roofline:
    """Arrays, one entry per deployment."""
    return Roofline(*(np.array(column, dtype=np.float64) for column in zip(*rooflines, strict=True)))
