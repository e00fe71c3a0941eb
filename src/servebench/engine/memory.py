"""What fits: weights per GPU, and how many sequences the rest of the memory holds.

KV pool = (G (0.9 cap - 4 GB) - weights) * G_kv / G, one rule for all families; under data-parallel attention
the non-expert weights count once per group.
"""

from servebench.engine.attention import kappa_bytes, kv_groups, sequence_cache_bytes
from servebench.engine.deployment import Deployment

USABLE_MEMORY = 0.9  # share of HBM given to weights and KV, vLLM's gpu_memory_utilization
RESERVED_BYTES = 4e9  # activations, graphs and communication buffers of one GPU


def pool_bytes(
    gpus: int, memory_bytes: float, weights: float, *, copies: float, usable: float = USABLE_MEMORY
) -> float:
    """Memory for the sequences' caches, each counted once though the GPUs hold `copies` of it; 0 where the
    weights don't fit."""
    return max(0.0, gpus * (usable * memory_bytes - RESERVED_BYTES) - weights) / copies


def weight_bytes(deployment: Deployment) -> float:
    """Of all GPUs together, copies included."""
    model = deployment.model
    tables = (model.params_head + model.params_embedding) * deployment.head_bytes
    copied = model.params_attention * deployment.attention_bytes + tables
    copied += model.params_feed_forward * deployment.feed_forward_bytes
    return deployment.dp * copied + model.params_expert * deployment.expert_bytes


def kv_pool_bytes(deployment: Deployment, *, usable: float = USABLE_MEMORY) -> float:
    """pool_bytes of a deployment."""
    d, copies = deployment, deployment.stage_gpus / kv_groups(deployment)
    return pool_bytes(d.gpus, d.gpu.memory_bytes, weight_bytes(d), copies=copies, usable=usable)


def sequences_that_fit(
    deployment: Deployment, context_tokens: float, *, usable: float = USABLE_MEMORY
) -> int:
    """Whole sequences of this length that the pool holds at once."""
    each = context_tokens * kappa_bytes(deployment) + sequence_cache_bytes(deployment)
    return int(kv_pool_bytes(deployment, usable=usable) / each)
