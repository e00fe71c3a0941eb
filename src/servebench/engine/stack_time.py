"""The whole step-time model: (deployment at peak rates, global constants) -> seconds of a step.

    lin(T)   = |P_ne read, P_ne T| + |P_exp U(T)/E read, P_exp (k/E) T|,   |a, b| = (a^4 + b^4)^(1/4)
    U(T)     = E (1 - (1 - k/E)^(s T))                       s: routing is skewed
    t_d      = lin(T_d) + max(kappa S / (G_kv BW eta_kv), f_a S / (F mfu_a)) + comm(T_d) + t_seq B
               + windows, states, head
    t_p      = lin(n) + f_p n x / (F mfu_a) + comm(n) + L tau_p
    t_step   = max(t_d, t_p) + (1 - phi) min(t_d, t_p) + L tau + t_eng

T_d = B (1 + m). tau: per layer, by GPU generation, stack, sparsity and whether GPUs must meet. mfu falls with
the width of a GPU's matrices: mfu w/(w + 256), w = hidden/sqrt(tp). Under data-parallel attention a prompt is
prefilled by one group, so a lone prompt's dense part does not spread. Everything takes floats or arrays.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from servebench.catalog.stack_constants import StackConstants
from servebench.engine.roofline import Array, Roofline

# assumed, not fitted: the points hardly tell them from the constants beside them
STEP_OVERHEAD_S = 0.5e-3  # t_eng
REDUCE_EFFICIENCY = 0.4  # of NVLink, all-reduces of a decode step's size
EXCHANGE_EFFICIENCY = 0.8  # all-to-all kernels (DeepEP prints 43-47 of 50 GB/s between nodes)
EXPERT_IMBALANCE = 1.2  # the fullest rank over the mean under expert parallelism
HALF_WIDTH = 256  # matrix width at which a GPU reaches half its mfu
KNEE = 4  # sharpness of the knee between memory and compute


def bent(a: Array, b: Array) -> Array:
    """A maximum with a rounded knee: kernels near the ridge reach neither roof."""
    high, low = np.maximum(a, b), np.minimum(a, b)
    ratio = low / np.maximum(high, 1e-300)
    return high * np.sqrt(np.sqrt(1 + ratio**KNEE))


class StackCosts(NamedTuple):
    """Seconds with the efficiencies in: what a step needs of one deployment, floats or arrays."""

    dense_read_s: Array
    dense_s: Array
    head_s: Array
    expert_read_s: Array
    expert_s: Array
    missed: Array  # 1 - k/E
    spread: Array
    context_s: Array
    sequence_s: Array
    pair_s: Array
    prefill_token_s: Array
    link_s: Array
    fixed_s: Array  # L tau + t_eng + drafts
    prefill_fixed_s: Array
    overlap: Array
    groups: Array
    queries: Array  # 1 + m
    accepted: Array
    budget_tokens: Array
    separate: Array  # 1 where prompts run in steps of their own
    host_s: Array
    poll_steps: Array  # decode steps between two looks at the queue

    def take(self, index: np.ndarray) -> "StackCosts":
        """The entries at these places."""
        return StackCosts(*(column[index] for column in self))


def layer_latency_s(peak: Roofline, constants: StackConstants) -> Array:
    """tau"""
    c = constants
    generation = np.where(peak.hopper > 0, c.layer_latency_hopper_us, c.layer_latency_blackwell_us)
    stack = np.where(peak.sglang > 0, c.layer_latency_sglang, 1.0)
    sparse = np.where(peak.sparse > 0, c.layer_latency_moe, 1.0)
    alone = np.where(peak.alone > 0, c.layer_latency_one_gpu, 1.0)
    return 1e-6 * generation * stack * sparse * alone  # type: ignore[no-any-return]


def stack_costs(peak: Roofline, constants: StackConstants) -> StackCosts:
    """Puts efficiencies and overheads on the peak rates; the two broadcast against each other."""
    p, c = peak, constants
    sglang = p.sglang > 0
    peak_share = np.where(p.hopper > 0, c.mfu, c.mfu_blackwell)
    mfu = peak_share * p.width / (p.width + HALF_WIDTH)
    imbalance = np.where(p.sharded_experts > 0, EXPERT_IMBALANCE, 1.0)
    tau_s = layer_latency_s(p, c)
    prefill_us = c.prefill_layer_us * np.where(p.sparse > 0, c.prefill_layer_moe, 1.0)
    prefill_us = prefill_us * np.where(sglang, c.prefill_layer_sglang, 1.0)
    host_ms = np.where(sglang, c.host_sglang_ms, np.where(p.trtllm > 0, c.host_trtllm_ms, c.host_vllm_ms))
    draft_s = p.drafts * (tau_s + p.dense_read_s / p.layers / c.hbm_efficiency)  # one layer a draft
    costs = StackCosts(
        dense_read_s=p.dense_read_s / c.hbm_efficiency,
        dense_s=p.dense_s / mfu,
        head_s=p.head_s / peak_share,
        expert_read_s=imbalance * p.expert_read_s / c.hbm_efficiency,
        expert_s=imbalance * p.expert_s / c.mfu_expert,
        missed=1.0 - p.routed,
        spread=np.asarray(c.routing_spread),
        context_s=np.maximum(p.context_read_s / c.kv_efficiency, p.context_s / c.mfu_attention),
        sequence_s=p.sequence_read_s / c.hbm_efficiency + 1e-6 * c.sequence_overhead_us / p.groups,
        pair_s=p.pair_s / c.mfu_attention,
        prefill_token_s=p.prefill_token_s / c.mfu_attention,
        link_s=p.reduce_s / REDUCE_EFFICIENCY + p.exchange_s / EXCHANGE_EFFICIENCY,
        fixed_s=p.layers * tau_s + STEP_OVERHEAD_S + draft_s,
        prefill_fixed_s=1e-6 * p.layers * prefill_us,
        overlap=np.asarray(c.overlap),
        groups=p.groups,
        queries=1.0 + p.drafts,
        accepted=p.accepted,
        budget_tokens=p.budget_tokens,
        separate=p.sglang,
        host_s=1e-3 * host_ms,
        poll_steps=p.poll_steps,
    )
    return StackCosts(*np.broadcast_arrays(*costs))


def linear_s(costs: StackCosts, dense_tokens: Array, expert_tokens: Array) -> Array:
    """lin: weights read once for all tokens."""
    dense = bent(costs.dense_read_s, costs.dense_s * dense_tokens)
    touched = 1.0 - costs.missed ** (costs.spread * expert_tokens)
    return dense + bent(costs.expert_read_s * touched, costs.expert_s * expert_tokens)


def decode_s(costs: StackCosts, decoding: Array, context_tokens: Array) -> Array:
    """t_d without the fixed part: decoding sequences, context_tokens their sum (S)."""
    tokens = decoding * costs.queries
    per_sequence = costs.sequence_s + costs.queries * (costs.head_s + costs.link_s)
    return linear_s(costs, tokens, tokens) + costs.context_s * context_tokens + per_sequence * decoding


def prefill_s(costs: StackCosts, tokens: Array, pairs: Array, *, prompt_tokens: Array) -> Array:
    """t_p without the fixed part of a step; 0 for no tokens. pairs: the sum of the tokens' positions;
    prompt_tokens: one prompt's length, which says how many data-parallel groups are busy."""
    idle = costs.groups / np.clip(np.ceil(tokens / prompt_tokens), 1.0, costs.groups)
    taken = linear_s(costs, tokens * idle, tokens) + costs.pair_s * pairs * idle
    taken = taken + (costs.prefill_token_s + costs.link_s) * tokens + costs.prefill_fixed_s
    return np.where(tokens > 0, taken, 0.0)


def step_s(costs: StackCosts, decode: Array, prefill: Array) -> Array:
    """t_step of a step whose parts take these times alone."""
    together = np.maximum(decode, prefill) + (1.0 - costs.overlap) * np.minimum(decode, prefill)
    return together + costs.fixed_s


class StackStep(NamedTuple):
    """A step's time, as engine.replica asks for it."""

    total_s: float


@dataclass(frozen=True, slots=True)
class StackStepTime:
    """One deployment's steps for engine.replica.Replica, which asks `step` and `kv_pool_tokens`."""

    costs: StackCosts
    prompt_tokens: float
    pool_tokens: int

    def step(
        self, decoding: int, context_tokens: float, *, prefill_tokens: int = 0, prefill_pairs: float = 0.0
    ) -> StackStep:
        """As engine.step_time.StepTimeModel.step."""
        numbers = (decoding, context_tokens, prefill_tokens, prefill_pairs, self.prompt_tokens)
        batch, context, tokens, pairs, prompt = np.array(numbers, dtype=np.float64)[:, None]
        decode = decode_s(self.costs, batch, context) if decoding else np.zeros(1)
        prefill = prefill_s(self.costs, tokens, pairs, prompt_tokens=prompt)
        return StackStep(float(step_s(self.costs, decode, prefill)[0]))

    def kv_pool_tokens(self) -> int:
        return self.pool_tokens
