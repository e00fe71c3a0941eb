"""A deployment in seconds at peak rates: all that physics says before any efficiency is assumed.

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
NODE_GPUS = 8


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
    sequence_read_s: Array
    pair_s: Array
    prefill_token_s: Array
    reduce_s: Array  # per token, all-reduces of tensor parallelism
    exchange_s: Array  # per token, all-to-all of expert parallelism
    layers: Array
    width: Array  # hidden / sqrt(tp): how large one GPU's matrices are
    groups: Array  # dp
    stages: Array  # pp
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
        "sequence_read_s": attention.sequence_bytes / hbm,
        "pair_s": attention.pair_flop / bf16,
        "prefill_token_s": attention.token_flop / bf16,
        "reduce_s": reduce_s(d),
        "exchange_s": exchange_s(d),
        "layers": model.layers,
        "width": model.hidden / d.tp**0.5,
        "groups": d.dp,
        "stages": d.pp,
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


def reduce_s(deployment: Deployment) -> float:
    """TP: two all-reduces a layer among tp GPUs, each moving its bytes twice; per token at peak."""
    d, model = deployment, deployment.model
    share = (d.tp - 1) / d.tp / (d.dp * d.pp)
    return 4 * model.layers * model.hidden * TP_BYTES * share / d.gpu.nvlink_bytes_per_s


def exchange_s(deployment: Deployment) -> float:
    """EP beside data-parallel attention: all-to-all to k GPUs at most; over the scale-out network where the
    experts span several NVLink domains, once to each node that the router may reach. Under tensor parallelism
    every GPU has every token already."""
    d, model, gpu = deployment, deployment.model, deployment.gpu
    if not model.experts or d.dp == 1:
        return 0.0
    domain = 72 if "nvl" in gpu.name.lower() else NODE_GPUS
    reached, rate = min(model.experts_active, d.stage_gpus), gpu.nvlink_bytes_per_s
    if d.stage_gpus > domain:
        reached, rate = min(reached, model.routed_nodes or reached), gpu.scaleout_bytes_per_s
    return model.expert_layers / d.gpus * reached * model.expert_hidden * EP_BYTES / rate


def stacked(rooflines: Sequence[Roofline]) -> Roofline:
    """Arrays, one entry per deployment."""
    return Roofline(*(np.array(column, dtype=np.float64) for column in zip(*rooflines, strict=True)))
