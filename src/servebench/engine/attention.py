"""Attention by family: what a context token costs in decode, a pair in prefill, and where the KV lies.

G_kv, the ways the cache is split: GQA under tensor parallelism min(tp, n_kv); MLA under tensor parallelism 1
(every GPU holds all of the latent cache); data-parallel groups hold their own sequences and multiply it.
Linear layers cost a constant per sequence. Sliding windows are read up to their length; sparse attention
reads its indexer's keys over the whole context and up to index_top tokens of the cache.
"""

from typing import NamedTuple

from servebench.catalog.architectures import Architecture, Family
from servebench.engine.deployment import Deployment

STATE_PASSES = 2  # a recurrent state is read and written


class AttentionCost(NamedTuple):
    """Of one GPU, summed over the replica's sequences: bytes and FLOP at no efficiency yet."""

    context_bytes: float  # decode, per context token
    context_flop: float
    window_bytes: float  # decode, per context token up to window_tokens: sliding windows, or chosen tokens
    window_tokens: float
    sequence_bytes: float  # decode, per sequence: states
    pair_flop: float  # prefill, per (token x position)
    token_flop: float  # prefill, per token


def kv_groups(deployment: Deployment) -> int:
    """G_kv over the GPUs of one pipeline stage."""
    if deployment.model.family is Family.MLA:
        return deployment.dp
    return deployment.dp * min(deployment.tp, deployment.model.kv_heads)


def kappa_bytes(deployment: Deployment) -> float:
    """Cache bytes of one context token, all layers, one copy."""
    return deployment.model.kv_bytes_per_token(deployment.kv_bytes)


def sequence_cache_bytes(deployment: Deployment) -> float:
    """What a sequence holds whatever its length: full windows and recurrent states, one copy."""
    return deployment.model.window_bytes(deployment.kv_bytes) + deployment.model.state_bytes


def attention_cost(deployment: Deployment) -> AttentionCost:
    """The family's cost on this deployment."""
    model, gpus = deployment.model, deployment.gpus
    groups = kv_groups(deployment) * deployment.pp
    queries = 1 + deployment.drafts
    read = kappa_bytes(deployment)
    decode_flop = model.full_layers * model.decode_flop_per_context * queries
    pair_flop = model.full_layers * model.prefill_flop_per_pair
    chosen_bytes = chosen_flop = 0.0
    top = 0
    if model.latent is not None and model.latent.index_top:
        top, index_share = model.latent.index_top, model.latent.index_dim / model.kv_values_per_layer
        chosen_bytes = read * (1 - index_share)
        chosen_flop = top * pair_flop
        read *= index_share
        decode_flop, pair_flop = _indexer_flop(model) * queries, _indexer_flop(model)
    window_tokens, windows = float(model.window_tokens), 0.0
    if model.window_tokens:
        windows = model.window_bytes(deployment.kv_bytes) / model.window_tokens
    elif chosen_bytes:
        window_tokens, windows = float(top), chosen_bytes
    states = STATE_PASSES * model.state_bytes / gpus
    window_flop = model.window_layers * model.prefill_flop_per_pair * model.window_tokens
    return AttentionCost(
        context_bytes=read / groups,
        context_flop=decode_flop / gpus,
        window_bytes=windows / groups,
        window_tokens=window_tokens,
        sequence_bytes=states,
        pair_flop=pair_flop / gpus,
        token_flop=(window_flop + chosen_flop) / gpus,
    )


def _indexer_flop(model: Architecture) -> float:
    if model.latent is None:
        return 0.0
    return model.full_layers * 2.0 * model.latent.index_heads * model.latent.index_dim
