"""What the validation report states: errors by group, the order of configurations, disclosed figures."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from measured_points import MeasuredPoint

from servebench.catalog.load import load_catalog
from servebench.catalog.model_file import find_model
from servebench.catalog.stack_constants import (
    NAMES,
    PRIORS,
    FittedConstants,
    StackConstants,
    fitted_serving,
)
from servebench.engine.closed_loop import Means
from servebench.engine.deployment import Backend, Deployment
from servebench.engine.roofline import roofline
from servebench.engine.stack_fit import Points, calibrate_ttft, calibrated_s, predict
from servebench.engine.step_costs import stack_efficiencies, step_costs
from servebench.engine.step_time import step_parts

RANKED_RATIO = 1.15
# what is 1 where only peak rates count; latencies and host work are nought
PEAK = ("hbm_efficiency", "kv_efficiency", "mfu", "mfu_expert", "mfu_attention", "routing_spread")
BATCHES = (4, 8, 16, 32, 64, 128, 256)  # upper ends


def errors(predicted: np.ndarray, measured: np.ndarray) -> dict[str, float]:
    relative = np.abs(predicted / measured - 1)
    return {
        "median_abs_error": round(float(np.median(relative)), 4),
        "p90_abs_error": round(float(np.percentile(relative, 90)), 4),
        "median_error": round(float(np.median(predicted / measured) - 1), 4),
        "n": len(relative),
    }


def both(means: Means, points: Points, index: np.ndarray) -> dict[str, Any]:
    return {
        "tpot": errors(means.tpot_s[index], points.tpot_s[index]),
        "ttft": errors(means.ttft_s[index], points.ttft_s[index]),
    }


def grouped(
    rows: Sequence[MeasuredPoint], key: Callable[[MeasuredPoint], Any], means: Means, points: Points
) -> dict[str, Any]:
    """The errors of each group of points, in the order of its key; a tuple's first part only orders."""
    places: dict[Any, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        places[key(row)].append(i)
    return {
        name[-1] if isinstance(name, tuple) else str(name): both(means, points, np.array(places[name]))
        for name in sorted(places)
    }


def batch_of(row: MeasuredPoint) -> tuple[int, str]:
    """A range of concurrency, with its place."""
    place = sum(row.concurrency > end for end in BATCHES)
    low = BATCHES[place - 1] + 1 if place else 1
    return place, f"over {BATCHES[-1]}" if place == len(BATCHES) else f"{low}-{BATCHES[place]}"


def lengths_of(row: MeasuredPoint) -> tuple[int, str]:
    """Prompt and output tokens to a power of two or so, with their place."""
    prompt, output = (
        min((1024, 2048, 4096, 8192, 16384), key=lambda n: abs(np.log(tokens / n)))
        for tokens in (row.input_tokens, row.output_tokens)
    )
    short = "up to 700" if row.output_tokens <= 700 else str(output)
    return prompt * 100_000 + (output if short == str(output) else 0), f"about {prompt} / {short}"


def ranking(rows: Sequence[MeasuredPoint], predicted: np.ndarray, measured: np.ndarray) -> dict[str, Any]:
    """Of pairs at equal family, lengths and concurrency more than 15 % apart: the share in right order."""
    like: dict[Any, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        key = (row.deployment.model.family, row.input_tokens, row.output_tokens, row.concurrency)
        like[key].append(i)
    right = pairs = 0
    for places in like.values():
        a, b = np.triu_indices(len(places), 1)
        p, m = predicted[places], measured[places]
        far = np.maximum(m[a] / m[b], m[b] / m[a]) > RANKED_RATIO
        pairs += int(far.sum())
        right += int(((m[a] > m[b]) == (p[a] > p[b]))[far].sum())
    return {"right_order": round(right / pairs, 4) if pairs else None, "pairs": pairs}


def calibrated(rows: Sequence[MeasuredPoint], means: Means, points: Points) -> dict[str, Any]:
    """TTFT with two constants fitted per model, as the file names them."""
    names = np.array([row.model_name for row in rows])
    ttft_s, fitted = means.ttft_s.copy(), {}
    for name in sorted(set(names)):
        index = np.flatnonzero(names == name)
        host_s, factor = calibrate_ttft(means.ttft_s[index], points.ttft_s[index])
        ttft_s[index] = calibrated_s(means.ttft_s[index], host_s, factor)
        fitted[str(name)] = {"host_s": round(host_s, 4), "factor": round(factor, 4)}
    return {"ttft": errors(ttft_s, points.ttft_s), "constants": fitted}


def worst(
    rows: Sequence[MeasuredPoint], means: Means, points: Points, count: int = 10
) -> list[dict[str, Any]]:
    """The points whose TPOT is furthest off, measured and computed."""
    off = np.abs(np.log(means.tpot_s / points.tpot_s))
    found = []
    for i in np.argsort(-off)[:count]:
        row, d = rows[i], rows[i].deployment
        what = f"{row.model_name} on {d.gpus} x {d.gpu.id}, {d.backend}, {d.gemm}, "
        what += f"{row.input_tokens}/{row.output_tokens}, {row.concurrency} clients"
        found.append(
            {
                "what": what,
                "tpot_ms": [float(1e3 * points.tpot_s[i]), float(1e3 * means.tpot_s[i])],
                "ttft_ms": [float(1e3 * points.ttft_s[i]), float(1e3 * means.ttft_s[i])],
            }
        )
    return found


def software_efficiency(rows: Sequence[MeasuredPoint], points: Points) -> dict[str, float]:
    """The share of the measured TPOT that peak rates explain (with the assumed links' efficiencies and 0.5 ms
    a step), in the median of dense and sparse models: what kernels, launches and the host leave of it."""
    ideal = dict.fromkeys(NAMES, 1e-9) | dict.fromkeys(PEAK, 1.0)
    alone = predict(points, StackConstants(**ideal)).tpot_s / points.tpot_s
    sparse = np.array([row.deployment.model.experts > 0 for row in rows])
    kinds = {"dense": ~sparse, "MoE": sparse}
    return {name: round(float(np.median(alone[of])), 4) for name, of in kinds.items() if of.any()}


def deepseek_day(constants: StackConstants) -> dict[str, float]:
    """DeepSeek's disclosed day: H800, experts over 144 GPUs, 88 concurrent decodes a GPU at 4,989 KV tokens.

    error is against the middle of the disclosed 20 to 22 tokens/s per user.
    """
    h100 = load_catalog().gpu("h100")
    h800 = replace(h100, id="h800", name="H800", nvlink_bytes_per_s=200e9)  # 400 GB/s both ways
    deployment = Deployment(
        model=find_model("deepseek-v3"),
        gpu=h800,
        backend=Backend.VLLM,
        gemm="fp8",
        experts="fp8",
        dp=144,
        moe_ep=144,
    )
    peak = roofline(deployment)
    costs = step_costs(peak, stack_efficiencies(peak, constants)).scalars()
    batch = 88 * 144
    step_s = step_parts(costs, batch, batch * 4989, 0, 0.0).total_s
    low, high = 20.0, 22.0
    return {
        "tokens_per_s_per_user": round(1 / step_s, 2),
        "disclosed_low": low,
        "disclosed_high": high,
        "error": round(2 / step_s / (low + high) - 1, 4),
    }


def about_constants(constants: FittedConstants) -> dict[str, Any]:
    """The values in use, their priors and bounds, and the range over the fits without a family."""
    others = [asdict(one) for one in constants.without.values()]
    return {
        "source": constants.source.source,
        "values": asdict(constants.all),
        "left_out_range": {
            name: [min(one[name] for one in others), max(one[name] for one in others)] for name in NAMES
        },
        "priors": {name: asdict(PRIORS[name]) for name in NAMES},
    }


def tier_latency_us() -> dict[str, float]:
    """A layer's latency: solved for Grok 4.3 from its published speed, and fitted to public models."""
    solved_s = load_catalog().tier("grok-4.3").serving.layer_latency_s
    fitted_s = fitted_serving()["layer_latency_s"]["value"]
    return {"solved": 1e6 * solved_s, "fitted": 1e6 * float(str(fitted_s))}
