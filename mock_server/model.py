"""Model: one served tier with its price, its replicas, its fingerprint and its entry of /v1/models."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from servebench.catalog.load import Catalog
from servebench.catalog.prices import PriceSheet
from servebench.catalog.tiers import Tier
from servebench.engine.disaggregation import Split
from servebench.engine.replica import Replica


@dataclass(frozen=True, slots=True)
class Model:
    tier: Tier
    sheet: PriceSheet
    replicas: tuple[Replica, ...]
    fingerprint: str
    router: str = "least-loaded"
    split: Split | None = None  # the first of the replicas prefill, the others decode

    @property
    def entries(self) -> int:
        """Replicas that take requests: all, or those that prefill."""
        return len(self.replicas) if self.split is None else self.split.prefill

    @property
    def kv_pool_tokens(self) -> int:
        cache = self.replicas[0].cache
        return cache.total_blocks * cache.block_tokens


def build_model(
    catalog: Catalog,
    tier: Tier,
    *,
    replicas: int,
    seed: int,
    router: str = "least-loaded",
    split: Split | None = None,
) -> Model:
    """The tier with fresh replicas, at its newest price. Raises UsageError where it has no price.

    split: each of `replicas` is a group of so many that prefill and so many that decode.
    """
    whole = None if split is None else split.times(replicas)
    count = replicas if whole is None else whole.replicas
    gpu = catalog.gpu(tier.serving.gpu_id)
    # the longest prompt has an answer of one token
    window = dataclasses.replace(tier, context_length_tokens=tier.context_length_tokens + 1)
    fleet = tuple(Replica(window, gpu, seed=_seed(tier.id, seed, index)) for index in range(count))
    digest = blake2b(f"{tier.id} {tier.created}".encode(), digest_size=8).hexdigest()
    return Model(tier, catalog.price(tier.id), fleet, f"fp_{digest}", router, whole)


def replica_counts(models: Iterable[Model]) -> dict[str, int]:
    """Of those that take requests, by every name that a model answers to."""
    return {name: model.entries for model in models for name in (model.tier.id, *model.tier.aliases)}


def _seed(tier_id: str, seed: int, index: int) -> int:
    """Every replica of every tier its own noise."""
    return int.from_bytes(blake2b(f"{seed} {tier_id} {index}".encode(), digest_size=6).digest(), "big")


def prices_json(sheet: PriceSheet) -> dict[str, int]:
    """xAI's own integers: ticks per token. Image input bills at the text rate."""
    prices = {
        "prompt_text_token_price": sheet.base.input_ticks,
        "cached_prompt_text_token_price": sheet.base.cached_ticks,
        "prompt_image_token_price": sheet.base.input_ticks,
        "completion_text_token_price": sheet.base.output_ticks,
    }
    if sheet.long is not None and sheet.threshold_tokens is not None:
        prices |= {
            "prompt_text_token_price_long_context": sheet.long.input_ticks,
            "cached_prompt_text_token_price_long_context": sheet.long.cached_ticks,
            "completion_text_token_price_long_context": sheet.long.output_ticks,
            "long_context_threshold": sheet.threshold_tokens,
        }
    return prices


def model_json(model: Model) -> dict[str, Any]:
    """The entry of /v1/models."""
    tier = model.tier
    return {
        "id": tier.id,
        "aliases": list(tier.aliases),
        "context_length": tier.context_length_tokens,
        "created": tier.created,
        "object": "model",
        "owned_by": "xai",
        **prices_json(model.sheet),
    }


def language_model_json(model: Model) -> dict[str, Any]:
    """The entry of /v1/language-models: no context_length, and no search_price, whose unit is not known."""
    tier = model.tier
    return {
        "id": tier.id,
        "fingerprint": model.fingerprint,
        "created": tier.created,
        "object": "model",
        "owned_by": "xai",
        "version": "1.0",
        "input_modalities": ["text"],
        "output_modalities": ["text"],
        **prices_json(model.sheet),
        "aliases": list(tier.aliases),
    }
