"""Reads measured (TTFT, TPOT) points of serving stacks: CSV files in the columns of aiconfigurator's data.

COLUMNS must be there; gemm_quant_mode and moe_quant_mode say more than precision where they are. Rows of a
model or GPU that the catalog doesn't know, or that don't add up, are counted and left out.
"""

import csv
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from servebench.catalog.architectures import Architecture
from servebench.catalog.hardware import Gpu
from servebench.catalog.load import load_catalog
from servebench.catalog.model_file import find_model
from servebench.engine.closed_loop import Loads
from servebench.engine.deployment import Backend, Deployment
from servebench.engine.memory import sequences_that_fit
from servebench.engine.roofline import HOPPER, roofline, stacked
from servebench.engine.stack_fit import Points
from servebench.errors import UsageError

RAISED_MEMORY = 0.95
COLUMNS = (
    *("model_path", "system", "backend", "precision", "isl", "osl", "concurrency", "gpus"),
    *("tp_size", "pp_size", "attention_dp_size", "moe_ep_size", "silicon_ttft_ms", "silicon_tpot_ms"),
)


@dataclass(frozen=True, slots=True)
class MeasuredPoint:
    model_name: str
    deployment: Deployment
    input_tokens: int
    output_tokens: int
    concurrency: int
    ttft_s: float
    tpot_s: float


def read_points(paths: Iterable[Path]) -> tuple[list[MeasuredPoint], Counter[str]]:
    """The points of all files, and why rows were left out. Raises UsageError for a file of another form."""
    points: list[MeasuredPoint] = []
    left_out: Counter[str] = Counter()
    for path in paths:
        try:
            with path.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{path} cannot be read: {error}") from None
        if missing := [name for name in COLUMNS if not rows or name not in rows[0]]:
            raise UsageError(f"{path}: no rows, or columns missing: {', '.join(missing)}")
        for row in rows:
            try:
                points.append(to_point(row))
            except (UsageError, ValueError) as error:
                left_out[str(error).splitlines()[0].split("; known")[0]] += 1
    return points, left_out


def to_point(row: Mapping[str, str]) -> MeasuredPoint:
    """One row. Raises UsageError or ValueError where it names what the catalog lacks or does not add up."""
    deployment = to_deployment(row)
    if deployment.gpus != int(row["gpus"]):
        raise ValueError("gpus is not tp_size x pp_size x attention_dp_size")
    point = MeasuredPoint(
        row["model_path"].rsplit("/", 1)[-1],
        deployment,
        input_tokens=int(row["isl"]),
        output_tokens=int(row["osl"]),
        concurrency=int(row["concurrency"]),
        ttft_s=float(row["silicon_ttft_ms"]) / 1e3,
        tpot_s=float(row["silicon_tpot_ms"]) / 1e3,
    )
    if min(point.input_tokens, point.output_tokens - 1, point.concurrency) < 1:
        raise ValueError("isl and concurrency must be at least 1, osl at least 2")
    if not (point.ttft_s > 0 and point.tpot_s > 0 and np.isfinite([point.ttft_s, point.tpot_s]).all()):
        raise ValueError("ttft and tpot must be positive")
    return point


def recipe(row: Mapping[str, str], model: Architecture, gpu: Gpu) -> dict[str, int]:
    """What the published recipes of these benchmarks set beside the widths, by stack and model.

    TRT-LLM for DeepSeek: max_num_tokens of one prompt and the concurrency, in 64s. SGLang on Blackwell for
    sparse models: scheduler-recv-interval 10, from 16 clients 30.
    """
    clients = int(row["concurrency"])
    if row["backend"] == Backend.TRTLLM and model.latent is not None:
        return {"prefill_tokens": -(-(clients + int(row["isl"]) + 64) // 64) * 64}
    if row["backend"] == Backend.SGLANG and model.experts and gpu.id not in HOPPER:
        return {"poll_steps": 10 if clients < 16 else 30}
    return {}


def to_deployment(row: Mapping[str, str]) -> Deployment:
    tp, pp, dp = (max(1, int(row[name] or 1)) for name in ("tp_size", "pp_size", "attention_dp_size"))
    width = max(1, int(row["moe_ep_size"] or 1))
    model, gpu = find_model(row["model_path"]), load_catalog().gpu(row["system"].removesuffix("_sxm"))
    return Deployment(
        model=model,
        gpu=gpu,
        backend=Backend(row["backend"]),
        gemm=precision(row.get("gemm_quant_mode") or row["precision"]),
        experts=precision(row.get("moe_quant_mode") or row["precision"]),
        tp=tp,
        pp=pp,
        dp=dp,
        moe_ep=min(width, tp * dp),  # a few rows give a width of another stage
        **recipe(row, model, gpu),
    )


def precision(mode: str) -> str:
    """nvfp4, mxfp4 -> fp4; fp8_block -> fp8; the rest is bf16."""
    for name in ("fp4", "fp8"):
        if name in mode:
            return name
    return "bf16"


def _room(point: MeasuredPoint) -> int:
    """Sequences that the cache holds; who measured more clients than that raised the memory share."""
    tokens = point.input_tokens + point.output_tokens
    room = sequences_that_fit(point.deployment, tokens)
    if room < point.concurrency:
        room = sequences_that_fit(point.deployment, tokens, usable=RAISED_MEMORY)
    return max(1, room)


def as_arrays(points: list[MeasuredPoint]) -> Points:
    def column(name: str) -> np.ndarray:
        return np.array([getattr(point, name) for point in points], dtype=np.float64)

    inputs, outputs = column("input_tokens"), column("output_tokens")
    room = [_room(point) for point in points]
    loads = Loads(column("concurrency"), inputs, outputs, np.array(room, dtype=np.float64))
    peak = stacked([roofline(point.deployment) for point in points])
    return Points(peak, loads, column("ttft_s"), column("tpot_s"))
