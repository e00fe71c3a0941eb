"""The form of gpus.yaml and clusters.yaml."""

from decimal import Decimal
from typing import Annotated

from pydantic import Field

from servebench.catalog.cited import Cited, Count, Positive, Row
from servebench.catalog.hardware import Cluster, Gpu
from servebench.catalog.provenance import Source

Money = Annotated[Decimal, Field(gt=0, allow_inf_nan=False)]


class GpuRow(Row):
    name: str
    memory_bytes: Cited[Positive]
    hbm_bytes_per_s: Cited[Positive]
    flops_bf16: Cited[Positive]
    flops_fp8: Cited[Positive]
    flops_fp4: Cited[Positive] | None
    nvlink_bytes_per_s: Cited[Positive]
    scaleout_bytes_per_s: Cited[Positive]
    tdp_w: Cited[Positive]
    all_in_kw: Cited[Positive]
    usd_per_gpu_h: Annotated[dict[str, Cited[Money]], Field(min_length=1)]

    def to_gpu(self, gpu_id: str) -> Gpu:
        sources = sources_of(self)
        for basis, price in self.usd_per_gpu_h.items():
            sources[f"usd_per_gpu_h.{basis}"] = price.cited
        return Gpu(
            id=gpu_id,
            name=self.name,
            memory_bytes=self.memory_bytes.value,
            hbm_bytes_per_s=self.hbm_bytes_per_s.value,
            flops_bf16=self.flops_bf16.value,
            flops_fp8=self.flops_fp8.value,
            flops_fp4=None if self.flops_fp4 is None else self.flops_fp4.value,
            nvlink_bytes_per_s=self.nvlink_bytes_per_s.value,
            scaleout_bytes_per_s=self.scaleout_bytes_per_s.value,
            tdp_w=self.tdp_w.value,
            all_in_kw=self.all_in_kw.value,
            usd_per_gpu_h={basis: price.value for basis, price in self.usd_per_gpu_h.items()},
            sources=sources,
        )


class GpuFile(Row):
    gpus: Annotated[dict[str, GpuRow], Field(min_length=1)]


class ClusterRow(Row):
    name: str
    gpus: Cited[Count]
    gpu_ids: tuple[str, ...]
    megawatts: Cited[Positive]
    pue: Cited[Annotated[float, Field(ge=1, le=3)]]

    def to_cluster(self, cluster_id: str) -> Cluster:
        return Cluster(
            id=cluster_id,
            name=self.name,
            gpus=self.gpus.value,
            gpu_ids=self.gpu_ids,
            megawatts=self.megawatts.value,
            pue=self.pue.value,
            sources=sources_of(self),
        )


class ClusterFile(Row):
    clusters: dict[str, ClusterRow]


def sources_of(row: Row) -> dict[str, Source]:
    """The source of each cited field of the row, by field name."""
    found = {}
    for name in type(row).model_fields:
        value = getattr(row, name)
        if isinstance(value, Cited):
            found[name] = value.cited
    return found
