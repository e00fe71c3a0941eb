"""The form of tiers.yaml. Computed on loading: P_ne = share * P_act, k = E (P_act - P_ne) / P_exp."""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, model_validator

from servebench.catalog.cited import Cited, Count, CountOrZero, NotNegative, Positive, Row, Share
from servebench.catalog.hardware_file import sources_of
from servebench.catalog.provenance import Kind, Source
from servebench.catalog.stack_constants import fitted_serving
from servebench.catalog.tiers import ModelShape, OperatingPoint, ServingProfile, Tier
from servebench.catalog.yaml_file import merged


class ShapeRow(Row):
    params_total: Cited[Positive]
    params_active: Cited[Positive]
    params_non_expert_share: Cited[Share]
    layers: Cited[Count]
    hidden: Cited[Count]
    experts: Cited[CountOrZero]
    kv_bytes_per_token: Cited[Positive]
    attn_decode_flop: Cited[Positive]
    attn_prefill_flop: Cited[Positive]
    non_expert_bytes_per_param: Cited[Positive]
    expert_bytes_per_param: Cited[Positive]
    window_tokens: Cited[CountOrZero]
    window_kv_bytes_per_token: Cited[NotNegative]
    state_bytes: Cited[NotNegative]

    @model_validator(mode="after")
    def _active_within_total(self) -> "ShapeRow":
        if self.params_active.value > self.params_total.value:
            raise ValueError("params_active is above params_total")
        return self

    def to_shape(self) -> tuple[ModelShape, dict[str, Source]]:
        total, active = self.params_total.value, self.params_active.value
        experts = self.experts.value
        non_expert = self.params_non_expert_share.value * active if experts else total
        experts_active = experts * (active - non_expert) / (total - non_expert) if experts else 0.0
        shape = ModelShape(
            params_total=total,
            params_active=active,
            params_non_expert=non_expert,
            layers=self.layers.value,
            hidden=self.hidden.value,
            experts=experts,
            experts_active=experts_active,
            kv_bytes_per_token=self.kv_bytes_per_token.value,
            attn_decode_flop=self.attn_decode_flop.value,
            attn_prefill_flop=self.attn_prefill_flop.value,
            non_expert_bytes_per_param=self.non_expert_bytes_per_param.value,
            expert_bytes_per_param=self.expert_bytes_per_param.value,
            window_tokens=self.window_tokens.value,
            window_kv_bytes_per_token=self.window_kv_bytes_per_token.value,
            state_bytes=self.state_bytes.value,
        )
        sources = sources_of(self)
        share = sources["params_non_expert_share"]
        sources["params_non_expert"] = self._computed("share * params_active", note=share.note)
        sources["experts_active"] = self._computed("E (P_act - P_ne) / P_exp")
        return shape, sources

    def _computed(self, formula: str, *, note: str = "") -> Source:
        """A computed field is as certain as params_active, and moves with it."""
        active = self.params_active.cited
        kind = Kind.MODELLED if active.kind is Kind.MODELLED else Kind.DERIVED
        said = "; ".join(part for part in ("moves with params_active", note) if part)
        return Source(kind, f"computed: {formula}", active.date, note=said)


_NO_HYBRID = {
    name: {
        "value": 0,
        "kind": "assumed",
        "source": "servebench's choice",
        "date": "2026-11-25",
        "note": "no window or linear-attention layers are known of",
    }
    for name in ("window_tokens", "window_kv_bytes_per_token", "state_bytes")
}


class ServingRow(Row):
    gpu_id: str
    gpus: Cited[Count]
    kv_shards: Cited[Annotated[float, Field(ge=1)]]
    communication: Literal["ep", "tp"]
    layer_latency_s: Cited[NotNegative]
    step_overhead_s: Cited[NotNegative]
    sequence_overhead_s: Cited[NotNegative]
    draft_tokens: Cited[CountOrZero]
    accepted_tokens: Cited[Annotated[float, Field(ge=1)]]
    overlap: Cited[Annotated[float, Field(ge=0, le=1)]]
    hbm_efficiency: Cited[Share]
    kv_efficiency: Cited[Share]
    mfu: Cited[Share]
    mfu_expert: Cited[Share]
    mfu_attention: Cited[Share]
    routing_spread: Cited[Share]
    prefill_layer_latency_s: Cited[NotNegative]
    max_num_seqs: Cited[Count]
    max_num_batched_tokens: Cited[Count]
    block_tokens: Cited[Count]
    ttft_floor_s: Cited[NotNegative]
    step_noise_cv: Cited[NotNegative]
    prefill_noise_cv: Cited[NotNegative]
    accepted_tokens_by_workload: dict[str, Cited[Annotated[float, Field(ge=1)]]] = Field(default_factory=dict)
    max_queued_requests: Cited[Count] | None = None

    @model_validator(mode="after")
    def _possible(self) -> "ServingRow":
        if self.accepted_tokens.value > self.draft_tokens.value + 1:
            raise ValueError("accepted_tokens is above draft_tokens + 1")
        for workload, accepted in self.accepted_tokens_by_workload.items():
            if accepted.value > self.draft_tokens.value + 1:
                raise ValueError(f"accepted_tokens_by_workload: {workload} is above draft_tokens + 1")
        if self.kv_shards.value > self.gpus.value:
            raise ValueError("kv_shards is above gpus")
        return self

    def to_serving(self) -> ServingProfile:
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        by_workload = fields.pop("accepted_tokens_by_workload")
        return ServingProfile(
            **{n: v.value if isinstance(v, Cited) else v for n, v in fields.items()},
            accepted_tokens_by_workload={name: accepted.value for name, accepted in by_workload.items()},
        )


class OperatingPointRow(Row):
    batch: Annotated[int, Field(ge=1)]
    context_tokens: Annotated[int, Field(ge=1)]
    tokens_per_s: Cited[Positive]


class TierRow(Row):
    name: str
    aliases: tuple[str, ...] = ()
    status: Literal["for sale", "announced"]
    created: Cited[CountOrZero]
    context_length_tokens: Cited[Count]
    default_max_output_tokens: Cited[Count]
    preamble_tokens: Cited[CountOrZero]
    bytes_per_token: Cited[Positive]
    output_tokens_mu: Cited[Annotated[float, Field(allow_inf_nan=False)]]
    output_tokens_sigma: Cited[NotNegative]
    reasoning_tokens: Annotated[dict[str, Cited[NotNegative]], Field(min_length=1)]
    reasoning_tokens_sigma: Cited[NotNegative]
    default_reasoning_effort: str
    shape: ShapeRow
    serving: ServingRow
    operating_point: OperatingPointRow | None = None
    solved: str | None = None

    @model_validator(mode="after")
    def _names_known(self, info: ValidationInfo) -> "TierRow":
        if self.default_reasoning_effort not in self.reasoning_tokens:
            raise ValueError(
                f"default_reasoning_effort {self.default_reasoning_effort!r} is not in reasoning_tokens"
            )
        if self.solved is not None and self.solved not in ServingRow.model_fields:
            raise ValueError(f"solved names no field of serving: {self.solved!r}")
        if self.solved is not None and self.operating_point is None:
            raise ValueError("solved needs the operating_point that it was solved at")
        return self

    def to_tier(self, tier_id: str) -> Tier:
        shape, shape_sources = self.shape.to_shape()
        sources = sources_of(self) | shape_sources | sources_of(self.serving)
        for effort, median in self.reasoning_tokens.items():
            sources[f"reasoning_tokens.{effort}"] = median.cited
        for workload, accepted in self.serving.accepted_tokens_by_workload.items():
            sources[f"accepted_tokens_by_workload.{workload}"] = accepted.cited
        if self.operating_point is not None:
            sources["operating_point"] = self.operating_point.tokens_per_s.cited
        return Tier(
            id=tier_id,
            name=self.name,
            aliases=self.aliases,
            status=self.status,
            created=self.created.value,
            context_length_tokens=self.context_length_tokens.value,
            default_max_output_tokens=self.default_max_output_tokens.value,
            preamble_tokens=self.preamble_tokens.value,
            bytes_per_token=self.bytes_per_token.value,
            output_tokens_mu=self.output_tokens_mu.value,
            output_tokens_sigma=self.output_tokens_sigma.value,
            reasoning_tokens={effort: median.value for effort, median in self.reasoning_tokens.items()},
            reasoning_tokens_sigma=self.reasoning_tokens_sigma.value,
            default_reasoning_effort=self.default_reasoning_effort,
            shape=shape,
            serving=self.serving.to_serving(),
            operating_point=None
            if self.operating_point is None
            else OperatingPoint(
                batch=self.operating_point.batch,
                context_tokens=self.operating_point.context_tokens,
                tokens_per_s=self.operating_point.tokens_per_s.value,
            ),
            solved=self.solved,
            sources=sources,
        )


class TierFile(Row):
    """`defaults` of the file is filled in under every tier before the rows are checked, and under those the
    constants fitted to public stacks."""

    tiers: Annotated[dict[str, TierRow], Field(min_length=1)]

    @model_validator(mode="before")
    @classmethod
    def _fill_defaults(cls, data: object) -> object:
        if not isinstance(data, dict) or not isinstance(data.get("tiers"), dict):
            return data
        rest = {key: value for key, value in data.items() if key != "defaults"}
        defaults = data.get("defaults") or {}
        if not isinstance(defaults, dict):
            raise ValueError("defaults must be a mapping")
        fitted = merged({"serving": fitted_serving(), "shape": _NO_HYBRID}, defaults)
        rest["tiers"] = {
            tier_id: merged(fitted, row) if isinstance(row, dict) else row
            for tier_id, row in data["tiers"].items()
        }
        return rest
