"""The form of models.yaml, and the public models read from it."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationInfo, model_validator

from servebench.catalog.architectures import Architecture, Family, Latent, LinearAttention
from servebench.catalog.cited import Cited, Count, CountOrZero, Origin, Positive, Row
from servebench.catalog.hardware_file import sources_of
from servebench.catalog.provenance import Source
from servebench.catalog.yaml_file import DATA, read_catalog_file
from servebench.errors import UsageError


class LatentRow(Row):
    q_lora: CountOrZero
    kv_lora: Count
    rope: Count
    nope: Count
    v: Count
    index_heads: CountOrZero = 0
    index_dim: CountOrZero = 0
    index_top: CountOrZero = 0


class LinearRow(Row):
    key_heads: Count
    value_heads: Count
    key_dim: Count
    value_dim: Count


class ShapeRow(Origin):
    """One row, one config: all its numbers have the same source."""

    layers: Count
    hidden: Count
    vocabulary: Count
    heads: Count
    kv_heads: Count
    head_dim: Count
    ffn: CountOrZero = 0
    expert_layers: Count | None = None
    experts: CountOrZero = 0
    experts_active: CountOrZero = 0
    expert_ffn: CountOrZero = 0
    shared_ffn: CountOrZero = 0
    expert_hidden: Count | None = None
    full_layers: Count | None = None
    window_tokens: CountOrZero = 0
    routed_nodes: CountOrZero = 0
    gated_attention: bool = False
    tied_embeddings: bool = False
    _cited: Source

    @model_validator(mode="after")
    def _adds_up(self, info: ValidationInfo) -> "ShapeRow":
        self._cited = self.resolve(info)
        if (self.experts > 0) != (self.experts_active > 0 and self.expert_ffn > 0):
            raise ValueError("experts, experts_active and expert_ffn stand together or not at all")
        if self.experts_active > self.experts:
            raise ValueError("experts_active is above experts")
        for name in ("expert_layers", "full_layers"):
            if (getattr(self, name) or 0) > self.layers:
                raise ValueError(f"{name} is above layers")
        return self

    @property
    def cited(self) -> Source:
        return self._cited


class ModelRow(Row):
    name: str
    aliases: Annotated[tuple[str, ...], Field(min_length=1)]
    family: Family
    shape: ShapeRow
    latent: LatentRow | None = None
    linear: LinearRow | None = None
    fixed_expert_bytes: Cited[Positive] | None = None
    attention_fp4: bool = False
    published_total: Cited[Positive]
    published_active: Cited[Positive] | None = None

    @model_validator(mode="after")
    def _family_fits(self) -> "ModelRow":
        said = {
            Family.MLA: self.latent is not None,
            Family.LINEAR: self.linear is not None,
            Family.WINDOW: self.shape.window_tokens > 0,
        }
        for family, present in said.items():
            if present != (self.family is family):
                raise ValueError(
                    f"family {self.family.value!r} does not fit: only {family.value!r} has that part"
                )
        return self

    def to_architecture(self, model_id: str) -> Architecture:
        shape = self.shape
        return Architecture(
            id=model_id,
            name=self.name,
            aliases=self.aliases,
            family=self.family,
            layers=shape.layers,
            hidden=shape.hidden,
            vocabulary=shape.vocabulary,
            heads=shape.heads,
            kv_heads=shape.kv_heads,
            head_dim=shape.head_dim,
            ffn=shape.ffn,
            expert_layers=(shape.expert_layers or shape.layers) if shape.experts else 0,
            experts=shape.experts,
            experts_active=shape.experts_active,
            expert_ffn=shape.expert_ffn,
            shared_ffn=shape.shared_ffn,
            expert_hidden=shape.expert_hidden or shape.hidden,
            full_layers=shape.full_layers or shape.layers,
            window_tokens=shape.window_tokens,
            latent=Latent(**self.latent.model_dump()) if self.latent else None,
            linear=LinearAttention(**self.linear.model_dump()) if self.linear else None,
            routed_nodes=shape.routed_nodes,
            gated_attention=shape.gated_attention,
            tied_embeddings=shape.tied_embeddings,
            fixed_expert_bytes=self.fixed_expert_bytes.value if self.fixed_expert_bytes else None,
            attention_fp4=self.attention_fp4,
            published_total=self.published_total.value,
            published_active=self.published_active.value if self.published_active else None,
            sources={**sources_of(self), "shape": shape.cited},
        )


class ModelFile(Row):
    models: Annotated[dict[str, ModelRow], Field(min_length=1)]


@functools.cache
def load_models(directory: Path = DATA) -> Mapping[str, Architecture]:
    """The public models by id. Raises UsageError with every problem of the file."""
    rows = read_catalog_file(directory / "models.yaml", ModelFile).models
    return {model_id: row.to_architecture(model_id) for model_id, row in rows.items()}


def find_model(name: str) -> Architecture:
    """By id or alias, the maker's name before a slash or not. Raises UsageError with the known ids."""
    models = load_models()
    wanted = name.rsplit("/", 1)[-1].lower()
    for model in models.values():
        if wanted in (model.id, *(alias.lower() for alias in model.aliases)):
            return model
    raise UsageError(f"unknown model {name!r}; known: {', '.join(models)}")
