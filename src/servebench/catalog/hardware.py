"""GPUs and clusters: dense peak rates, memory, power and the price of an hour."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from servebench.catalog.provenance import Source


@dataclass(frozen=True, slots=True)
class Gpu:
    """One accelerator as a vendor sells it. Rates are dense peaks; links are one-way.

    flops_fp4 is None where the chip has no fp4 units. all_in_kw is IT power per GPU with its share of host,
    network and cooling (PUE already inside). usd_per_gpu_h is keyed by price basis: "hyperscaler",
    "neocloud" (both owned) and "rental" (3 years).
    """

    id: str
    name: str
    memory_bytes: float
    hbm_bytes_per_s: float
    flops_bf16: float
    flops_fp8: float
    flops_fp4: float | None
    nvlink_bytes_per_s: float
    scaleout_bytes_per_s: float
    tdp_w: float
    all_in_kw: float
    usd_per_gpu_h: Mapping[str, Decimal]
    sources: Mapping[str, Source]


@dataclass(frozen=True, slots=True)
class Cluster:
    """A published installation: how many GPUs, how many megawatts at the meter, power usage effectiveness."""

    id: str
    name: str
    gpus: int
    gpu_ids: tuple[str, ...]
    megawatts: float
    pue: float
    sources: Mapping[str, Source]
