"""A public model as somebody serves it: on which GPUs, how wide in each direction, in which precision.

Widths follow the field: attention runs tensor-parallel over tp GPUs in dp independent groups, experts over
moe_tp x moe_ep of them, in pp pipeline stages. No time here; engine.roofline turns it into seconds.
"""

from dataclasses import dataclass
from enum import StrEnum

from servebench.catalog.architectures import Architecture
from servebench.catalog.hardware import Gpu
from servebench.errors import UsageError

BYTES = {"bf16": 2.0, "fp8": 1.0, "fp4": 0.5625}  # per parameter; fp4 with its block scales
PREFILL_TOKENS = {"vllm": 8192, "trtllm": 8192, "sglang": 16384}  # max_num_batched_tokens and its likes


class Backend(StrEnum):
    VLLM = "vllm"
    TRTLLM = "trtllm"
    SGLANG = "sglang"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One replica. gemm and experts: "bf16", "fp8" or "fp4"; drafts: m; accepted: a tokens per step.

    prefill_tokens: the step's token budget of one attention group (None: the stack's default).
    poll_steps: decode steps between two looks at the queue (SGLang's scheduler-recv-interval).
    """

    model: Architecture
    gpu: Gpu
    backend: Backend
    gemm: str
    experts: str
    tp: int = 1
    pp: int = 1
    dp: int = 1
    moe_ep: int = 1
    drafts: int = 0
    accepted: float = 1.0
    prefill_tokens: int | None = None
    poll_steps: int = 1

    def __post_init__(self) -> None:
        problems = [
            f"{name} must be at least 1, not {getattr(self, name)}"
            for name in ("tp", "pp", "dp", "moe_ep")
            if getattr(self, name) < 1
        ]
        problems += [
            f"precision must be one of {', '.join(BYTES)}, not {mode!r}"
            for mode in (self.gemm, self.experts)
            if mode not in BYTES
        ]
        if not 1 <= self.accepted <= self.drafts + 1:
            problems.append(f"accepted must be 1 to drafts + 1 = {self.drafts + 1}, not {self.accepted:g}")
        if not problems and self.moe_ep > self.stage_gpus:
            problems.append(f"moe_ep {self.moe_ep} is wider than the {self.stage_gpus} GPUs of a stage")
        if problems:
            raise UsageError(*problems)

    @property
    def gpus(self) -> int:
        """G"""
        return self.tp * self.pp * self.dp

    @property
    def stage_gpus(self) -> int:
        return self.tp * self.dp

    @property
    def attention_bytes(self) -> float:
        """Per attention parameter: fp4 checkpoints of sparse models keep attention in bf16 (modelopt)."""
        if self.model.fixed_expert_bytes is not None:
            return 2.0
        if self.gemm == "fp4" and not self.model.attention_fp4:
            return 2.0
        return BYTES[self.gemm]

    @property
    def feed_forward_bytes(self) -> float:
        return 2.0 if self.model.fixed_expert_bytes is not None else BYTES[self.gemm]

    @property
    def head_bytes(self) -> float:
        """Vocabulary tables stay in bf16 on every stack."""
        return 2.0

    @property
    def expert_bytes(self) -> float:
        fixed = self.model.fixed_expert_bytes
        return BYTES[self.experts] if fixed is None else fixed

    @property
    def kv_bytes(self) -> float:
        """Per cached value: fp8, except where the weights are bf16 too."""
        return 2.0 if self.gemm == "bf16" and self.model.fixed_expert_bytes is None else 1.0

    @property
    def budget_tokens(self) -> int:
        """Prompt tokens that one step may take, over all attention groups."""
        return (self.prefill_tokens or PREFILL_TOKENS[self.backend]) * self.dp

    @property
    def fused(self) -> bool:
        """Prompts ride in decode steps (vLLM, TRT-LLM); SGLang runs them in steps of their own."""
        return self.backend is not Backend.SGLANG
