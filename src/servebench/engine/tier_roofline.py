"""A tier in seconds at peak rates: engine.roofline's numbers from a shape that states totals, not widths.

Non-expert weights and KV are sharded as the profile says (P_ne over all G, KV over G_kv); the vocabulary is
part of P_ne.
"""

import numpy as np

from servebench.catalog.hardware import Gpu
from servebench.catalog.tiers import ModelShape, ServingProfile
from servebench.engine.attention import STATE_PASSES
from servebench.engine.roofline import Roofline, all_reduce_s, all_to_all_s, peak_flops


def tier_roofline(shape: ModelShape, serving: ServingProfile, gpu: Gpu) -> Roofline:
    """Raises ValueError on a communication other than "tp" and "ep"."""
    G, hbm, bf16 = serving.gpus, gpu.hbm_bytes_per_s, gpu.flops_bf16
    routed = shape.experts_active / shape.experts if shape.experts else 0.0
    used = routed if shape.experts else 1.0  # a dense model uses all it has
    expert_flop_s = used * shape.params_expert / peak_flops(gpu, shape.expert_bytes_per_param)
    reduce_s, exchange_s = _communication_s(shape, serving, gpu)
    values = {
        "dense_read_s": shape.params_non_expert * shape.non_expert_bytes_per_param / G / hbm,
        "dense_s": 2 * shape.params_non_expert / peak_flops(gpu, shape.non_expert_bytes_per_param) / G,
        "head_s": 0.0,
        "expert_read_s": shape.params_expert * shape.expert_bytes_per_param / G / hbm,
        "expert_s": 2 * expert_flop_s / G,
        "routed": used if shape.params_expert else 0.0,
        "context_read_s": shape.kv_bytes_per_token / serving.kv_shards / hbm,
        "context_s": shape.attn_decode_flop * (1 + serving.draft_tokens) / G / bf16,
        "window_read_s": shape.window_kv_bytes_per_token / serving.kv_shards / hbm,
        "window_tokens": shape.window_tokens,
        "sequence_read_s": STATE_PASSES * shape.state_bytes / G / hbm,
        "pair_s": shape.attn_prefill_flop / G / bf16,
        "prefill_token_s": 0.0,
        "reduce_s": reduce_s,
        "exchange_s": exchange_s,
        "layers": shape.layers,
        "width": shape.hidden / G**0.5,
        "groups": 1,
        "drafts": serving.draft_tokens,
        "accepted": serving.accepted_tokens,
        "budget_tokens": serving.max_num_batched_tokens,
        "poll_steps": 0,
        "sparse": shape.experts > 0,
        "sharded_experts": serving.communication == "ep" and G > 1,
        "alone": G == 1,
        "hopper": False,  # the profile names its own tau, and fused steps
        "trtllm": False,
        "sglang": False,
    }
    return Roofline(**{name: np.float64(value) for name, value in values.items()})  # type: ignore[arg-type]


def _communication_s(shape: ModelShape, serving: ServingProfile, gpu: Gpu) -> tuple[float, float]:
    """Per token, at peak: all-reduces and all-to-all."""
    if serving.communication == "tp":
        return all_reduce_s(gpu, shape.layers, shape.hidden, serving.gpus), 0.0
    if serving.communication == "ep":
        routed = shape.experts_active if shape.experts else 0.0
        return 0.0, all_to_all_s(gpu, shape.layers, shape.hidden, serving.gpus, reached=routed)
    raise ValueError(f"communication must be 'tp' or 'ep', not {serving.communication!r}")
