"""Reads measured (TTFT, TPOT) points of serving stacks: CSV files in the columns of aiconfigurator's data.

COLUMNS must be there; gemm_quant_mode and moe_quant_mode say more than precision where they are. Rows of a
model or GPU that the catalog doesn't know, or that don't add up, are counted and left out.
"""

import csv
import math
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
    """The points of all files, and why rows were left out. Raises UsageError on files of another form."""
    points: list[MeasuredPoint] = []
    left_out: Counter[str] = Counter()
    problems: list[str] = []
    for path in paths:
        try:
            with path.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            problems.append(f"{path} cannot be read: {error}")
            continue
        if not rows:
            problems.append(f"{path} has no rows below its head")
        elif missing := [name for name in COLUMNS if name not in rows[0]]:
            problems.append(f"{path} lacks the columns {', '.join(missing)}")
        else:
            _add(rows, points, left_out)
    if problems:
        raise UsageError(*problems)
    return points, left_out


def _add(rows: Iterable[Mapping[str, str]], points: list[MeasuredPoint], left_out: Counter[str]) -> None:
    for row in rows:
        try:
            points.append(to_point(row))
        except UsageError as error:
            left_out[str(error).splitlines()[0].split("; known")[0]] += 1


def number(row: Mapping[str, str], name: str) -> float:
    """Raises UsageError where the cell is none, or not finite."""
    try:
        value = float(row[name])
    except (ValueError, TypeError):
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"{name} is no number: {row[name]!r}")
    return value


def count(row: Mapping[str, str], name: str, *, least: int, blank: int | None = None) -> int:
    """Raises UsageError where the cell is no whole number from least up; blank: what an empty one means."""
    if blank is not None and not (row[name] or "").strip():
        return blank
    value = number(row, name)
    if value != int(value) or value < least:
        raise UsageError(f"{name} must be a whole number from {least}, not {row[name]}")
    return int(value)


def to_point(row: Mapping[str, str]) -> MeasuredPoint:
    """One row. Raises UsageError that names what the catalog lacks or what does not add up."""
    deployment = to_deployment(row)
    if deployment.gpus != count(row, "gpus", least=1):
        raise UsageError("gpus is not tp_size x pp_size x attention_dp_size")
    point = MeasuredPoint(
        row["model_path"].rsplit("/", 1)[-1],
        deployment,
        input_tokens=count(row, "isl", least=1),
        output_tokens=count(row, "osl", least=2),
        concurrency=count(row, "concurrency", least=1),
        ttft_s=number(row, "silicon_ttft_ms") / 1e3,
        tpot_s=number(row, "silicon_tpot_ms") / 1e3,
    )
    if point.ttft_s <= 0 or point.tpot_s <= 0:
        raise UsageError("silicon_ttft_ms and silicon_tpot_ms must be positive")
    return point


def recipe(row: Mapping[str, str], model: Architecture, gpu: Gpu) -> dict[str, int]:
    """What the published recipes of these benchmarks set beside the widths, by stack and model.

    TRT-LLM for DeepSeek: max_num_tokens of one prompt and the concurrency, in 64s. SGLang on Blackwell for
    sparse models: scheduler-recv-interval 10, from 16 clients 30.
    """
    clients = count(row, "concurrency", least=1)
    if row["backend"] == Backend.TRTLLM and model.latent is not None:
        return {"prefill_tokens": -(-(clients + count(row, "isl", least=1) + 64) // 64) * 64}
    if row["backend"] == Backend.SGLANG and model.experts and gpu.id not in HOPPER:
        return {"poll_steps": 10 if clients < 16 else 30}
    return {}


def to_deployment(row: Mapping[str, str]) -> Deployment:
    """Raises UsageError on a model, GPU or stack that is not known, and on impossible widths."""
    tp, pp, dp, width = (
        max(1, count(row, name, least=0, blank=1))
        for name in ("tp_size", "pp_size", "attention_dp_size", "moe_ep_size")
    )
    if row["backend"] not in list(Backend):
        raise UsageError(f"unknown backend {row['backend']!r}; known: {', '.join(Backend)}")
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
