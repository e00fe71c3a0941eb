"""How long one engine step takes: one model for the mock, the plan and the validation against measurements.

    t_d    = lin(T_d) + kv S + win min(S, B W) + T_d (head + link) + B (t_seq + states)      T_d = B (1 + m)
    t_p    = lin(n) + f_p n x + n (link + windows) + L tau_p
    t_step = t_d + t_p - phi min(t_d, t_p) + L tau + t_eng + m (tau + lin(T_d)/L)
    lin(T) = |P_ne read, P_ne T| + |P_exp U(T)/E read, P_exp (k/E) T|,   |a, b| = (a^4 + b^4)^(1/4)
    U(T)   = E (1 - (1 - k/E)^(s T))

B decoding sequences whose contexts sum to S, m drafts; n prefill tokens whose positions sum to n x; phi the
overlap of prefill and decode; s < 1 since routing is skewed. Sliding windows are crossed together, at a mean
context of W: exact where all sequences are on one side of it. Without prompts a step is affine in S on either
side. Where attention runs in data-parallel groups, a lone prompt's dense part does not spread over them.

The formulas are plain arithmetic, so that floats and arrays take the same ones. Not a simulator of kernels:
engine.step_costs says where the seconds come from.
"""

from typing import Any, NamedTuple

from servebench.catalog.hardware import Gpu
from servebench.catalog.tiers import ModelShape, ServingProfile
from servebench.engine.memory import pool_bytes
from servebench.engine.step_costs import StepCosts, profile_efficiencies, step_costs
from servebench.engine.tier_roofline import tier_roofline

Number = Any  # a float, or an array of one entry per deployment


class DecodeParts(NamedTuple):
    """t_d, in seconds."""

    linear_s: Any
    attention_s: Any
    communication_s: Any
    sequences_s: Any


class PrefillParts(NamedTuple):
    """t_p, in seconds."""

    linear_s: Any
    attention_s: Any
    communication_s: Any
    launch_s: Any


class StepParts(NamedTuple):
    """The named parts of one step, in seconds; they add up to total_s."""

    linear_s: float  # matrix products of the decoding sequences' tokens, the vocabulary's included
    attention_decode_s: float
    communication_s: float
    sequences_s: float  # t_seq B, and states read once per sequence
    prefill_linear_s: float
    attention_prefill_s: float
    prefill_communication_s: float
    prefill_launch_s: float  # L tau_p: prompts run outside graphs
    overlap_s: float  # what hides behind the longer of decode and prefill; never positive
    layers_s: float  # L tau: launch gaps and collectives' latency
    overhead_s: float  # t_eng: scheduler and sampler of the host
    draft_s: float

    @property
    def total_s(self) -> float:
        return sum(self)


def bent(a: Number, b: Number) -> Number:
    """A maximum with a rounded knee: kernels near the ridge reach neither roof."""
    a, b = a * a, b * b
    return (a * a + b * b) ** 0.25


def lesser(a: Number, b: Number) -> Number:
    return (a + b - abs(a - b)) / 2


def linear_s(costs: StepCosts, dense_tokens: Number, expert_tokens: Number) -> Number:
    """lin: weights read once for all tokens; 0 for no tokens."""
    touched = 1.0 - costs.missed ** (costs.spread * expert_tokens)
    experts = bent(costs.expert_read_s * touched, costs.expert_s * expert_tokens)
    return (dense_tokens > 0) * bent(costs.dense_read_s, costs.dense_s * dense_tokens) + experts


def decode_parts(costs: StepCosts, decoding: Number, context_tokens: Number) -> DecodeParts:
    tokens = decoding * costs.queries
    windows = lesser(context_tokens, decoding * costs.window_tokens)
    return DecodeParts(
        linear_s(costs, tokens, tokens) + costs.head_s * tokens,
        costs.context_s * context_tokens + costs.window_s * windows,
        costs.link_s * tokens,
        costs.sequence_s * decoding,
    )


def prefill_parts(costs: StepCosts, tokens: Number, pairs: Number, prompts: Number) -> PrefillParts:
    """tokens > 0. pairs: the sum of their positions; prompts: how many they are of, a share for a chunk: it
    says how many data-parallel groups are busy."""
    at_least_one = 1 + prompts - lesser(1.0, prompts)
    idle = costs.groups / lesser(costs.groups, at_least_one)
    return PrefillParts(
        linear_s(costs, tokens * idle, tokens),
        costs.pair_s * pairs * idle + costs.prefill_token_s * tokens,
        costs.link_s * tokens,
        costs.prefill_fixed_s,
    )


def decode_s(costs: StepCosts, decoding: Number, context_tokens: Number) -> Number:
    """t_d with the drafts: of a step without prompts, all but what is fixed."""
    parts = decode_parts(costs, decoding, context_tokens)
    return sum(parts[1:], parts[0]) + draft_s(costs, decoding, parts.linear_s)


def prefill_s(costs: StepCosts, tokens: Number, pairs: Number, prompts: Number) -> Number:
    """t_p; 0 for no tokens."""
    parts = prefill_parts(costs, tokens, pairs, prompts)
    return (tokens > 0) * sum(parts[1:], parts[0])


def draft_s(costs: StepCosts, decoding: Number, linear: Number) -> Number:
    """m draft passes, each of about one layer and its launch."""
    return (decoding > 0) * costs.drafts * (costs.layers_s + linear) / costs.layers


def overlap_s(costs: StepCosts, decode: Number, prefill: Number) -> Number:
    """What a step is shorter by than its decode and prefill after each other."""
    return costs.overlap * lesser(decode, prefill)


def step_s(costs: StepCosts, decode: Number, prefill: Number) -> Number:
    """t_step of a step whose parts take these times alone."""
    return decode + prefill - overlap_s(costs, decode, prefill) + costs.layers_s + costs.overhead_s


def step_parts(
    costs: StepCosts, decoding: int, context_tokens: float, prefill_tokens: int, prefill_pairs: float
) -> StepParts:
    """One step of one deployment, part by part; the prompt tokens are of one prompt."""
    linear = attention = link = sequences = draft = decode = 0.0
    if decoding:
        linear, attention, link, sequences = decode_parts(costs, decoding, context_tokens)
        draft = draft_s(costs, decoding, linear) if costs.drafts else 0.0
        decode = linear + attention + link + sequences + draft
    fixed = (costs.layers_s, costs.overhead_s, draft)
    if not prefill_tokens:
        return StepParts(linear, attention, link, sequences, 0.0, 0.0, 0.0, 0.0, 0.0, *fixed)
    parts = prefill_parts(costs, prefill_tokens, prefill_pairs, 1.0)
    hidden = -overlap_s(costs, decode, sum(parts))
    return StepParts(linear, attention, link, sequences, *parts, hidden, *fixed)


class StepTimeModel:
    """Step time of a tier on its GPUs, or of a public model's deployment. Immutable."""

    def __init__(self, shape: ModelShape, serving: ServingProfile, gpu: Gpu) -> None:
        self.shape, self.serving, self.gpu = shape, serving, gpu
        self.costs = step_costs(tier_roofline(shape, serving, gpu), profile_efficiencies(serving)).scalars()

    def experts_touched(self, tokens: float) -> float:
        """U(T): distinct experts that T tokens use, each drawing k of E."""
        costs = self.costs
        return float(self.shape.experts * (1.0 - costs.missed ** (costs.spread * tokens)))

    def linear_s(self, tokens: float) -> float:
        """lin(T): all matrix products of T tokens, weights read once; 0 for no tokens."""
        return float(linear_s(self.costs, tokens, tokens))

    def step(
        self,
        decoding: int,
        context_tokens: float,
        *,
        prefill_tokens: int = 0,
        prefill_pairs: float = 0.0,
    ) -> StepParts:
        """One step. context_tokens: sum over the decoding sequences (S); prefill_pairs: sum over the prefill
        tokens of their position (n x)."""
        return step_parts(self.costs, decoding, context_tokens, prefill_tokens, prefill_pairs)

    def tokens_per_s_per_user(self, batch: int, context_tokens: float) -> float:
        """Interactivity of a steady batch whose sequences all have this context: a / t_step."""
        return self.serving.accepted_tokens / self.step(batch, batch * context_tokens).total_s

    def prefill_s(self, prompt_tokens: int) -> float:
        """Time of one cold prompt alone on the replica, chunk by chunk, without the host's TTFT floor."""
        total, start = 0.0, 0
        while start < prompt_tokens:
            chunk = min(self.serving.max_num_batched_tokens, prompt_tokens - start)
            pairs = chunk * (start + chunk / 2)
            total += self.step(0, 0, prefill_tokens=chunk, prefill_pairs=pairs).total_s
            start += chunk
        return total

    def kv_pool_tokens(self) -> int:
        """(G (0.9 cap - 4 GB) - weights) / kappa * G_kv / G, less the windows and states of max_num_seqs
        sequences; 0 where nothing is left."""
        copies = self.serving.gpus / self.serving.kv_shards
        pool = pool_bytes(self.serving.gpus, self.gpu.memory_bytes, self.shape.weight_bytes, copies=copies)
        pool -= self.serving.max_num_seqs * self.shape.sequence_bytes
        return max(0, int(pool / self.shape.kv_bytes_per_token))
