"""How long one engine step takes on one replica: a roofline per part, plus the host's fixed costs.

It isn't a simulator of kernels: weights, KV and links move at a share of their peak, and all the rest is the
measured residual per layer (tau). Decode and chunked prefill run fused, so weights are read once:

    t_step = lin(T_d + n_p) + attn_d + attn_p + comm(T_d + n_p) + L tau + t_eng + t_seq B + t_draft
    T_d = B (1 + m),  U(T) = E (1 - (1 - k/E)^T)
    lin(T) = max(P_ne wb_ne / (G BW eta), 2 P_ne T / (G F mfu))
           + max(P_exp U(T)/E wb_e / (G BW eta), 2 P_exp (k/E) T / (G F_e mfu_e))
    attn_d = max(kappa S_kv / (G_kv BW eta), f_a S_kv (1 + m) / (G F16 mfu_a))
    attn_p = f_p n_p x / (G F16 mfu_a)
    comm(T) = tp: 4 L T d (G - 1)/G 2 bytes / (0.8 NV)  |  ep: L (T/G) min(k, G) d 3 bytes / (0.8 NV)

B decoding sequences, S_kv the sum of their contexts, n_p prefill tokens at mean position x, m drafts.
Sources: roofline (Williams 2009); distinct experts by the coupon argument; link efficiency 0.8 assumed.
Both kinds of communication stay inside one NVLink domain here.
"""

from typing import NamedTuple

from servebench.catalog.hardware import Gpu
from servebench.catalog.tiers import ModelShape, ServingProfile

LINK_EFFICIENCY = 0.8
USABLE_MEMORY = 0.9  # share of HBM given to weights and KV, vLLM's gpu_memory_utilization
RESERVED_BYTES = 4e9  # activations, graphs and communication buffers of one GPU
TP_BYTES = 2  # bf16 activations in an all-reduce
EP_BYTES = 3  # fp8 dispatch (1) and bf16 combine (2)


class StepParts(NamedTuple):
    """The named parts of one step, in seconds; they add up to total_s."""

    linear_s: float
    attention_decode_s: float
    attention_prefill_s: float
    communication_s: float
    layers_s: float  # L tau: launch gaps and collectives' latency
    overhead_s: float  # t_eng: scheduler and sampler of the host
    sequences_s: float  # t_seq B
    draft_s: float

    @property
    def total_s(self) -> float:
        return sum(self)


def peak_flops(gpu: Gpu, bytes_per_param: float) -> float:
    """The dense peak of the narrowest unit that a parameter of this width can use on this chip."""
    if bytes_per_param >= 1.5:
        return gpu.flops_bf16
    if bytes_per_param >= 0.75 or gpu.flops_fp4 is None:
        return gpu.flops_fp8
    return gpu.flops_fp4


class StepTimeModel:
    """Step time of a model shape under a serving profile on G GPUs of one kind. Immutable."""

    def __init__(self, shape: ModelShape, serving: ServingProfile, gpu: Gpu) -> None:
        self.shape, self.serving, self.gpu = shape, serving, gpu
        G = serving.gpus
        bandwidth = gpu.hbm_bytes_per_s * serving.hbm_efficiency
        self._drafts = serving.draft_tokens
        self._dense_read_s = shape.params_non_expert * shape.non_expert_bytes_per_param / (G * bandwidth)
        self._dense_s_per_token = (
            2
            * shape.params_non_expert
            / (G * peak_flops(gpu, shape.non_expert_bytes_per_param) * serving.mfu)
        )
        moe = shape.experts > 0
        self._routed = shape.experts_active / shape.experts if moe else 0.0  # k/E
        self._missed = 1.0 - self._routed
        self._expert_read_s = shape.params_expert * shape.expert_bytes_per_param / (G * bandwidth)
        expert_flops = peak_flops(gpu, shape.expert_bytes_per_param)
        self._expert_s_per_token = (
            2 * shape.params_expert * self._routed / (G * expert_flops * serving.mfu_expert)
        )
        if not moe:  # every "expert" parameter of a dense model is read and used by every token
            self._expert_s_per_token = 2 * shape.params_expert / (G * expert_flops * serving.mfu)
            self._missed = 0.0
        attention_flops = G * gpu.flops_bf16 * serving.mfu_attention
        self._decode_s_per_context = max(
            shape.kv_bytes_per_token / (serving.kv_shards * bandwidth),
            shape.attn_decode_flop * (1 + self._drafts) / attention_flops,
        )
        self._prefill_s_per_pair = shape.attn_prefill_flop / attention_flops
        self._link_s_per_token = self._communication_s_per_token()
        self._layers_s = shape.layers * serving.layer_latency_s

    def _communication_s_per_token(self) -> float:
        shape, G = self.shape, self.serving.gpus
        link = LINK_EFFICIENCY * self.gpu.nvlink_bytes_per_s
        if self.serving.communication == "tp":
            return 4 * shape.layers * shape.hidden * (G - 1) / G * TP_BYTES / link
        if self.serving.communication == "ep":
            if G == 1:
                return 0.0
            return shape.layers / G * min(shape.experts_active, G) * shape.hidden * EP_BYTES / link
        raise ValueError(f"communication must be 'tp' or 'ep', not {self.serving.communication!r}")

    def experts_touched(self, tokens: float) -> float:
        """U(T): distinct experts that T tokens use, each drawing k of E."""
        return self.shape.experts * float(1.0 - self._missed**tokens)

    def linear_s(self, tokens: float) -> float:
        """lin(T): all matrix products of T tokens, weights read once; 0 for no tokens."""
        if tokens <= 0:
            return 0.0
        dense = max(self._dense_read_s, self._dense_s_per_token * tokens)
        touched = 1.0 - self._missed**tokens
        return float(dense + max(self._expert_read_s * touched, self._expert_s_per_token * tokens))

    def step(
        self,
        decoding: int,
        context_tokens: float,
        *,
        prefill_tokens: int = 0,
        prefill_pairs: float = 0.0,
    ) -> StepParts:
        """One fused step. context_tokens: sum over the decoding sequences (S_kv); prefill_pairs: sum over the
        prefill tokens of their position (n_p x)."""
        serving = self.serving
        tokens = decoding * (1 + self._drafts) + prefill_tokens
        draft_s = 0.0
        if self._drafts and decoding:  # a draft pass costs about one layer and its launch
            draft_s = self._drafts * (serving.layer_latency_s + self.linear_s(decoding) / self.shape.layers)
        return StepParts(
            self.linear_s(tokens),
            self._decode_s_per_context * context_tokens,
            self._prefill_s_per_pair * prefill_pairs,
            self._link_s_per_token * tokens,
            self._layers_s,
            serving.step_overhead_s,
            serving.sequence_overhead_s * decoding,
            draft_s,
        )

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
        """(G (0.9 cap - 4 GB) - weights) / kappa * G_kv / G; 0 where the weights don't fit."""
        G = self.serving.gpus
        free = G * (USABLE_MEMORY * self.gpu.memory_bytes - RESERVED_BYTES) - self.shape.weight_bytes
        return max(0, int(free / self.shape.kv_bytes_per_token * self.serving.kv_shards / G))
