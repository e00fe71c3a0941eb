"""The few global numbers of real serving stacks that no data sheet states, with their bounds and priors.

One set serves every model, GPU and stack: nothing here is per row or per model. `stack_constants.yaml` holds
the fitted set and, for the check of how far it generalises, one per architecture family fitted without it.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pydantic import ValidationInfo, model_validator

from servebench.catalog.architectures import Family
from servebench.catalog.cited import Origin, Row
from servebench.catalog.provenance import Source
from servebench.catalog.yaml_file import DATA, read_catalog_file


@dataclass(frozen=True, slots=True)
class StackConstants:
    """Floats, or arrays where many sets are evaluated at once. Latency factors multiply each other."""

    hbm_efficiency: Any  # eta_w: weights
    kv_efficiency: Any  # eta_kv: caches, gathered by blocks
    mfu: Any  # dense matrix products of prefill, at infinite width
    mfu_expert: Any  # mfu_e
    mfu_attention: Any  # mfu_a
    layer_latency_hopper_us: Any  # tau of vLLM, dense, several GPUs
    layer_latency_blackwell_us: Any
    layer_latency_sglang: Any  # factors on tau
    layer_latency_moe: Any
    layer_latency_one_gpu: Any
    sequence_overhead_us: Any  # t_seq
    routing_spread: Any  # routing is skewed: T tokens touch experts as this share of T independent ones would
    overlap: Any  # phi of prefill and decode in a fused step
    host_vllm_ms: Any  # host work before a prompt may be scheduled
    host_trtllm_ms: Any
    host_sglang_ms: Any
    prefill_layer_us: Any  # a prefill step is launched kernel by kernel, outside graphs
    prefill_layer_moe: Any  # factors on it
    prefill_layer_sglang: Any


@dataclass(frozen=True, slots=True)
class Prior:
    """What was believed before the fit (typical of the literature), sigma in ln, and physical bounds."""

    value: float
    sigma: float
    low: float
    high: float


PRIORS: Mapping[str, Prior] = {
    "hbm_efficiency": Prior(0.8, 0.1, 0.6, 0.95),
    "kv_efficiency": Prior(0.8, 0.15, 0.4, 0.95),
    "mfu": Prior(0.6, 0.15, 0.3, 0.85),
    "mfu_expert": Prior(0.2, 0.5, 0.1, 0.8),
    "mfu_attention": Prior(0.4, 0.3, 0.1, 0.8),
    "layer_latency_hopper_us": Prior(60.0, 0.4, 10.0, 150.0),
    "layer_latency_blackwell_us": Prior(60.0, 0.4, 10.0, 150.0),
    "layer_latency_sglang": Prior(1.3, 0.3, 0.7, 2.5),
    "layer_latency_moe": Prior(1.5, 0.15, 0.8, 2.0),
    "layer_latency_one_gpu": Prior(0.5, 0.3, 0.2, 1.0),
    "sequence_overhead_us": Prior(10.0, 0.5, 1.0, 40.0),
    "routing_spread": Prior(0.8, 0.2, 0.4, 1.0),
    "overlap": Prior(0.15, 1.0, 0.01, 0.6),
    "host_vllm_ms": Prior(20.0, 0.7, 3.0, 200.0),
    "host_trtllm_ms": Prior(40.0, 0.7, 3.0, 200.0),
    "host_sglang_ms": Prior(80.0, 0.7, 3.0, 300.0),
    "prefill_layer_us": Prior(60.0, 0.7, 1.0, 1000.0),
    "prefill_layer_moe": Prior(1.5, 0.4, 0.3, 4.0),
    "prefill_layer_sglang": Prior(1.5, 0.5, 0.3, 6.0),
}
PRIOR_CONSTANTS = StackConstants(**{name: prior.value for name, prior in PRIORS.items()})
NAMES = tuple(field.name for field in fields(StackConstants))


class ConstantsRow(Origin):
    """values: every constant, within its bounds."""

    values: dict[str, float]
    _cited: Source

    @model_validator(mode="after")
    def _complete(self, info: ValidationInfo) -> "ConstantsRow":
        self._cited = self.resolve(info)
        if odd := sorted(set(NAMES) ^ set(self.values)):
            raise ValueError(f"values: missing or unknown: {', '.join(odd)}")
        for name, value in self.values.items():
            prior = PRIORS[name]
            if not prior.low * 0.999 <= value <= prior.high * 1.001:
                raise ValueError(f"values.{name}: {value:g} is outside {prior.low:g} to {prior.high:g}")
        return self

    @property
    def cited(self) -> Source:
        return self._cited


class ConstantsFile(Row):
    fitted: ConstantsRow
    without_family: dict[Family, ConstantsRow]


@dataclass(frozen=True, slots=True)
class FittedConstants:
    """all: fitted to every point. without: per family, fitted to the points of all the others."""

    all: StackConstants
    without: Mapping[Family, StackConstants]
    source: Source


@functools.cache
def load_stack_constants(path: Path = DATA / "stack_constants.yaml") -> FittedConstants:
    """Raises UsageError with every problem of the file."""
    file = read_catalog_file(path, ConstantsFile)
    return FittedConstants(
        all=StackConstants(**file.fitted.values),
        without={family: StackConstants(**row.values) for family, row in file.without_family.items()},
        source=file.fitted.cited,
    )


@functools.cache
def fitted_serving() -> Mapping[str, Mapping[str, object]]:
    """The serving fields of a tier that the fit gives, in the form of tiers.yaml: for sparse models on
    several Blackwell GPUs under vLLM.

    The band is that of the sets fitted without one family; x/2 and x2 for a layer's latency, which differs
    most between stacks, and up to the slowest stack for the TTFT floor.
    """
    fitted = load_stack_constants()
    found = {}
    for name, (of, note) in _SERVING.items():
        value, *others = (of(constants) for constants in (fitted.all, *fitted.without.values()))
        low, high = min(value, *others), max(value, *others)
        if name == "layer_latency_s":
            low, high = low / 2, min(high * 2, MAX_LAYER_LATENCY_S)
        if name == "ttft_floor_s":
            high = max(high, 1e-3 * fitted.all.host_trtllm_ms, 1e-3 * fitted.all.host_sglang_ms)
        found[name] = {
            "value": float(f"{value:.4g}"),
            "low": min(float(f"{low:.4g}"), float(f"{value:.4g}")),
            "high": max(float(f"{high:.4g}"), float(f"{value:.4g}")),
            "kind": str(fitted.source.kind),
            "source": fitted.source.source,
            "date": fitted.source.date,
            "note": note,
        }
    return found


MAX_LAYER_LATENCY_S = 150e-6  # beyond it no profile is believed
_SERVING: Mapping[str, tuple[Callable[[StackConstants], float], str]] = {
    "hbm_efficiency": (lambda c: c.hbm_efficiency, "weights"),
    "kv_efficiency": (lambda c: c.kv_efficiency, "caches"),
    "mfu": (lambda c: c.mfu, "of a matrix of infinite width"),
    "mfu_expert": (lambda c: c.mfu_expert, ""),
    "mfu_attention": (lambda c: c.mfu_attention, ""),
    "routing_spread": (lambda c: c.routing_spread, ""),
    "overlap": (lambda c: c.overlap, "of prefill and decode: 0 serial, 1 ideal"),
    "layer_latency_s": (
        lambda c: 1e-6 * c.layer_latency_blackwell_us * c.layer_latency_moe,
        "sparse models on Blackwell; band x/2 and x2",
    ),
    "prefill_layer_latency_s": (
        lambda c: 1e-6 * c.prefill_layer_us * c.prefill_layer_moe,
        "a step with prompts is launched kernel by kernel",
    ),
    "sequence_overhead_s": (lambda c: 1e-6 * c.sequence_overhead_us, "host work per sequence and step"),
    "ttft_floor_s": (lambda c: 1e-3 * c.host_vllm_ms, "host work before a prompt may be scheduled, vLLM"),
}
