"""What a step costs on one deployment: seconds at peak rates with efficiencies and overheads put on them.

The efficiencies are the same few for a public model's deployment (chosen from the fitted global constants by
GPU generation and stack) and for a tier (its serving profile states them, from the same fit).
mfu falls with the width of a GPU's matrices: mfu w/(w + 256), w = hidden/sqrt(tp).
"""

from typing import Any, NamedTuple

import numpy as np

from servebench.catalog.stack_constants import StackConstants
from servebench.catalog.tiers import ServingProfile
from servebench.engine.roofline import Roofline

# assumed, not fitted: the points hardly tell them from the constants beside them
STEP_OVERHEAD_S = 0.5e-3  # t_eng
REDUCE_EFFICIENCY = 0.4  # of NVLink, all-reduces of a decode step's size
EXCHANGE_EFFICIENCY = 0.8  # all-to-all kernels (DeepEP prints 43-47 of 50 GB/s between nodes)
EXPERT_IMBALANCE = 1.2  # the fullest rank over the mean under expert parallelism
HALF_WIDTH = 256  # matrix width at which a GPU reaches half its mfu


class Efficiencies(NamedTuple):
    """Of one deployment; floats or arrays."""

    hbm: Any  # eta_w: weights
    kv: Any  # eta_kv: caches, gathered by blocks
    mfu: Any  # at infinite width
    mfu_expert: Any
    mfu_attention: Any
    layer_latency_s: Any  # tau
    step_overhead_s: Any  # t_eng
    sequence_overhead_s: Any  # t_seq
    routing_spread: Any  # s
    overlap: Any  # phi
    prefill_layer_s: Any  # tau_p
    host_s: Any  # host work before a prompt may be scheduled


class StepCosts(NamedTuple):
    """Seconds with the efficiencies in, and how the deployment schedules; floats or arrays."""

    dense_read_s: Any
    dense_s: Any  # per token
    head_s: Any  # per sampled token
    expert_read_s: Any  # all experts
    expert_s: Any  # per token
    missed: Any  # 1 - k/E
    spread: Any
    context_s: Any  # per token of context
    window_s: Any  # per token of context up to window_tokens
    window_tokens: Any
    sequence_s: Any  # per decoding sequence
    pair_s: Any  # per (token x position)
    prefill_token_s: Any
    link_s: Any  # per token
    layers_s: Any  # L tau
    layers: Any
    overhead_s: Any
    prefill_fixed_s: Any
    overlap: Any
    groups: Any
    queries: Any  # 1 + m
    drafts: Any
    accepted: Any
    budget_tokens: Any
    poll_steps: Any  # decode steps between two looks at the queue; 0: a look at every step
    separate: Any  # 1 where prompts run in steps of their own
    host_s: Any

    def take(self, index: Any) -> "StepCosts":
        """The entries at these places."""
        return StepCosts(*(column[index] for column in self))

    def scalars(self) -> "StepCosts":
        """Of a single deployment: plain floats, ten times as fast in scalar arithmetic as numpy's."""
        return StepCosts(*map(float, self))


def step_costs(peak: Roofline, efficiencies: Efficiencies) -> StepCosts:
    """The two broadcast against each other."""
    p, e = peak, efficiencies
    mfu = e.mfu * p.width / (p.width + HALF_WIDTH)
    imbalance = np.where(np.asarray(p.sharded_experts) > 0, EXPERT_IMBALANCE, 1.0)
    costs = StepCosts(
        dense_read_s=p.dense_read_s / e.hbm,
        dense_s=p.dense_s / mfu,
        head_s=p.head_s / e.mfu,
        expert_read_s=imbalance * p.expert_read_s / e.hbm,
        expert_s=imbalance * p.expert_s / e.mfu_expert,
        missed=1.0 - p.routed,
        spread=e.routing_spread,
        context_s=np.maximum(p.context_read_s / e.kv, p.context_s / e.mfu_attention),
        window_s=p.window_read_s / e.hbm,
        window_tokens=p.window_tokens,
        sequence_s=p.sequence_read_s / e.hbm + e.sequence_overhead_s / p.groups,
        pair_s=p.pair_s / e.mfu_attention,
        prefill_token_s=p.prefill_token_s / e.mfu_attention,
        link_s=p.reduce_s / REDUCE_EFFICIENCY + p.exchange_s / EXCHANGE_EFFICIENCY,
        layers_s=p.layers * e.layer_latency_s,
        layers=p.layers,
        overhead_s=e.step_overhead_s,
        prefill_fixed_s=p.layers * e.prefill_layer_s,
        overlap=e.overlap,
        groups=p.groups,
        queries=1.0 + p.drafts,
        drafts=p.drafts,
        accepted=p.accepted,
        budget_tokens=p.budget_tokens,
        poll_steps=p.poll_steps,
        separate=p.sglang,
        host_s=e.host_s,
    )
    return StepCosts(*np.broadcast_arrays(*costs))


def stack_efficiencies(peak: Roofline, constants: StackConstants) -> Efficiencies:
    """Of public deployments: tau by GPU generation, stack, sparsity and whether GPUs must meet."""
    p, c = peak, constants
    sglang, sparse = p.sglang > 0, p.sparse > 0
    tau_us = np.where(p.hopper > 0, c.layer_latency_hopper_us, c.layer_latency_blackwell_us)
    tau_us = tau_us * np.where(sglang, c.layer_latency_sglang, 1.0)
    tau_us = tau_us * np.where(sparse, c.layer_latency_moe, 1.0)
    tau_us = tau_us * np.where(p.alone > 0, c.layer_latency_one_gpu, 1.0)
    prefill_us = c.prefill_layer_us * np.where(sparse, c.prefill_layer_moe, 1.0)
    prefill_us = prefill_us * np.where(sglang, c.prefill_layer_sglang, 1.0)
    host_ms = np.where(sglang, c.host_sglang_ms, np.where(p.trtllm > 0, c.host_trtllm_ms, c.host_vllm_ms))
    return Efficiencies(
        hbm=c.hbm_efficiency,
        kv=c.kv_efficiency,
        mfu=c.mfu,
        mfu_expert=c.mfu_expert,
        mfu_attention=c.mfu_attention,
        layer_latency_s=1e-6 * tau_us,
        step_overhead_s=STEP_OVERHEAD_S,
        sequence_overhead_s=1e-6 * c.sequence_overhead_us,
        routing_spread=c.routing_spread,
        overlap=c.overlap,
        prefill_layer_s=1e-6 * prefill_us,
        host_s=1e-3 * host_ms,
    )


def profile_efficiencies(serving: ServingProfile) -> Efficiencies:
    """Of a tier, as its profile states them."""
    return Efficiencies(
        hbm=serving.hbm_efficiency,
        kv=serving.kv_efficiency,
        mfu=serving.mfu,
        mfu_expert=serving.mfu_expert,
        mfu_attention=serving.mfu_attention,
        layer_latency_s=serving.layer_latency_s,
        step_overhead_s=serving.step_overhead_s,
        sequence_overhead_s=serving.sequence_overhead_s,
        routing_spread=serving.routing_spread,
        overlap=serving.overlap,
        prefill_layer_s=serving.prefill_layer_latency_s,
        host_s=serving.ttft_floor_s,
    )
