"""Model tiers: what a model is (shape), how a replica serves it (serving), how it answers (dialect)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from servebench.catalog.provenance import Source


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The architecture as the step-time model sees it (symbols of the engine's formulas in brackets)."""

    params_total: float  # P_tot
    params_active: float  # P_act
    params_non_expert: float  # P_ne
    layers: int  # L
    hidden: int  # d
    experts: int  # E; 0 for a dense model
    experts_active: float  # k, from P_act
    kv_bytes_per_token: float  # kappa
    attn_decode_flop: float  # f_a, per (query x context) token
    attn_prefill_flop: float  # f_p
    non_expert_bytes_per_param: float  # wb_ne: 1 = fp8
    expert_bytes_per_param: float  # wb_e: 0.5625 = fp4 with its scales
    window_tokens: int = 0  # W: sliding-window layers read no more of a context than this
    window_kv_bytes_per_token: float = 0.0  # what they hold of one token
    state_bytes: float = 0.0  # recurrent states of linear-attention layers, per sequence

    @property
    def params_expert(self) -> float:
        """P_exp: routed-expert parameters."""
        return self.params_total - self.params_non_expert

    @property
    def weight_bytes(self) -> float:
        return (
            self.params_non_expert * self.non_expert_bytes_per_param
            + self.params_expert * self.expert_bytes_per_param
        )

    @property
    def sequence_bytes(self) -> float:
        """What a sequence holds however long it is: full windows and states."""
        return self.window_tokens * self.window_kv_bytes_per_token + self.state_bytes


@dataclass(frozen=True, slots=True)
class ServingProfile:
    """How one replica runs the model: hardware, batching limits (vLLM's names), overheads, efficiencies."""

    gpu_id: str
    gpus: int  # G
    kv_shards: float  # G_kv
    communication: str  # "ep" (all-to-all over experts) or "tp" (all-reduce)
    layer_latency_s: float  # tau
    step_overhead_s: float  # t_eng
    sequence_overhead_s: float  # t_seq
    draft_tokens: int  # m
    accepted_tokens: float  # a, the bonus token included: 1 <= a <= m + 1
    overlap: float  # phi of prefill and decode: 0 serial, 1 ideal
    hbm_efficiency: float  # eta_w
    kv_efficiency: float  # eta_kv
    mfu: float
    mfu_expert: float  # mfu_e
    mfu_attention: float  # mfu_a
    routing_spread: float  # s: T tokens touch the experts of s T independent ones
    prefill_layer_latency_s: float  # tau_p: launches of a step with prompts, beyond tau
    max_num_seqs: int
    max_num_batched_tokens: int
    block_tokens: int
    ttft_floor_s: float  # host work before the first step: tokenise, route, detokenise
    step_noise_cv: float
    prefill_noise_cv: float
    # a of requests of one workload (engine.sequence), where it differs; {}: of all the same
    accepted_tokens_by_workload: Mapping[str, float] = field(default_factory=dict)
    max_queued_requests: int | None = None  # sequences waiting on a replica, past which it refuses


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """The point a published speed is taken to mean: batch size, mean context, tokens/s per user."""

    batch: int
    context_tokens: int
    tokens_per_s: float


@dataclass(frozen=True, slots=True)
class Tier:
    """A servable tier. On the mock: prompt tokens = preamble_tokens + UTF-8 bytes / bytes_per_token.

    output_tokens_mu and _sigma are of ln(visible tokens), the mock's draw where a request sets no limit.
    reasoning_tokens maps each reasoning_effort the tier knows to the median reasoning tokens it draws, and
    reasoning_tokens_sigma is the spread of their ln about it.
    solved names the parameter that calibration solved (None: nothing was), at operating_point.
    sources is keyed by field name ("params_total", "layer_latency_s", ...).
    """

    id: str
    name: str
    aliases: tuple[str, ...]
    status: str  # "for sale" or "announced"
    created: int  # Unix seconds, as /v1/models gives it
    context_length_tokens: int
    default_max_output_tokens: int
    preamble_tokens: int
    bytes_per_token: float
    output_tokens_mu: float
    output_tokens_sigma: float
    reasoning_tokens: Mapping[str, float]
    reasoning_tokens_sigma: float
    default_reasoning_effort: str
    shape: ModelShape
    serving: ServingProfile
    operating_point: OperatingPoint | None
    solved: str | None
    sources: Mapping[str, Source]


@dataclass(frozen=True, slots=True)
class ReferenceModel:
    """A model the brief compares with: not served here, its parameters (if any) and prices are others' words.

    genai_id is (provider, model) in the genai-prices package; None where no list price exists.
    """

    id: str
    name: str
    maker: str
    params_total_low: float | None
    params_total_high: float | None
    genai_id: tuple[str, str] | None
    note: str
    sources: Mapping[str, Source]
