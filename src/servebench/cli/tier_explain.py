"""`servebench tiers TIER --explain`: how a tier's speeds come about, from the inputs to the uncertainty."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

import click

from servebench.catalog.hardware import Gpu
from servebench.catalog.provenance import Kind, Source
from servebench.catalog.tiers import OperatingPoint, Tier
from servebench.cli.published import by_kind
from servebench.cli.tables import console, table
from servebench.cli.tier_figures import (
    DEFAULT_BATCH,
    DEFAULT_CONTEXT_TOKENS,
    modelled_speed,
    weights_source,
    with_band,
)
from servebench.cli.tier_numbers import number_text, numbers, source_json
from servebench.engine.step_time import StepTimeModel

POINTS = ((1, 8_000), (32, 64_000), (128, 64_000), (8, 1_000_000))  # batch, context of each
COLD_PROMPTS = (128_000, 1_000_000)
LARGEST_PUBLIC_PARAMS = 1.6e12  # beyond it, and in decoding at 1M tokens, nothing is measured anywhere
LONG_CONTEXT_TOKENS = 1_000_000


def explanation(tier: Tier, gpu: Gpu) -> dict[str, Any]:
    """All that is shown, as JSON: inputs and gpu with kind and source, derived sizes, the parts of one step,
    speeds and cold TTFTs with their bands, and the names of what was solved, assumed and MODELLED."""
    model = StepTimeModel(tier.shape, tier.serving, gpu)
    point = tier.operating_point or OperatingPoint(DEFAULT_BATCH, DEFAULT_CONTEXT_TOKENS, 0.0)
    step = model.step(point.batch, point.batch * point.context_tokens)
    return {
        "tier": tier.id,
        "inputs": {name: {"value": v, **source_json(s)} for name, (v, s) in numbers(tier).items()},
        "gpu": {name: {"value": v, **source_json(s)} for name, (v, s) in _gpu_numbers(gpu).items()},
        "derived": _derived(tier, gpu, model),
        "step": {
            "batch": point.batch,
            "context_tokens": point.context_tokens,
            "parts_us": {name: seconds * 1e6 for name, seconds in step._asdict().items()},
            "total_us": step.total_s * 1e6,
            "accepted_tokens": tier.serving.accepted_tokens,
            "tokens_per_s_per_user": tier.serving.accepted_tokens / step.total_s,
        },
        "prefill": _prefill(tier, model),
        "speeds": [_speed(tier, gpu, model, batch, context) for batch, context in POINTS],
        "cold_ttft": [_cold_ttft(tier, gpu, prompt) for prompt in COLD_PROMPTS],
        "solved": _solved(tier),
        "kinds": by_kind(tier.sources),
        "extrapolated": list(_extrapolated(tier)),
    }


def _prefill(tier: Tier, model: StepTimeModel) -> dict[str, Any]:
    """One chunk of a prompt alone, in the middle of COLD_PROMPTS[0] tokens."""
    tokens, position = tier.serving.max_num_batched_tokens, COLD_PROMPTS[0] // 2
    step = model.step(0, 0, prefill_tokens=tokens, prefill_pairs=float(tokens * position))
    return {
        "tokens": tokens,
        "position": position,
        "parts_us": {name: seconds * 1e6 for name, seconds in step._asdict().items()},
        "total_us": step.total_s * 1e6,
        "tokens_per_s": tokens / step.total_s,
    }


def _gpu_numbers(gpu: Gpu) -> dict[str, tuple[Any, Source]]:
    return {
        field.name: (getattr(gpu, field.name), gpu.sources[field.name])
        for field in fields(gpu)
        if field.name in gpu.sources and getattr(gpu, field.name) is not None
    }


def _derived(tier: Tier, gpu: Gpu, model: StepTimeModel) -> dict[str, Any]:
    pool = model.kv_pool_tokens()
    _, low, high = with_band(tier, gpu, lambda changed: max(changed.kv_pool_tokens(), 1))
    return {
        "params_expert": {"value": tier.shape.params_expert, "formula": "P_tot - P_ne"},
        "weight_bytes": {"value": tier.shape.weight_bytes, **source_json(weights_source(tier))},
        "kv_pool_tokens": {
            "value": pool,
            "low": low,
            "high": high,
            "formula": "(G (0.9 cap - 4 GB) - weights) / kappa x G_kv / G",
        },
        "contexts_of_1m_tokens": {
            "value": pool // LONG_CONTEXT_TOKENS,
            "low": int(low) // LONG_CONTEXT_TOKENS,
            "high": int(high) // LONG_CONTEXT_TOKENS,
        },
        "gigabytes_per_1m_context": {"value": tier.shape.kv_bytes_per_token * LONG_CONTEXT_TOKENS / 1e9},
    }


def _speed(tier: Tier, gpu: Gpu, model: StepTimeModel, batch: int, context: int) -> dict[str, Any]:
    speed = modelled_speed(tier, gpu, batch, context)
    own = tier.operating_point
    published = own is not None and (own.batch, own.context_tokens) == (batch, context)
    return {
        "batch": batch,
        "context_tokens": context,
        "tokens_per_s_per_user": speed.point.tokens_per_s,
        "low": None if published else speed.source.low,
        "high": None if published else speed.source.high,
        "kind": str(tier.sources["operating_point"].kind if published else Kind.MODELLED),
        "tokens_per_s": batch * speed.point.tokens_per_s,
        "kv_fits": batch * context <= model.kv_pool_tokens(),
    }


def _cold_ttft(tier: Tier, gpu: Gpu, prompt: int) -> dict[str, Any]:
    floor_s = tier.serving.ttft_floor_s
    value_s, low_s, high_s = with_band(tier, gpu, lambda model: floor_s + model.prefill_s(prompt))
    return {
        "prompt_tokens": prompt,
        "ttft_s": value_s,
        "low": low_s,
        "high": high_s,
        "floor_s": floor_s,
        "kind": str(Kind.MODELLED),
    }


def _solved(tier: Tier) -> dict[str, Any] | None:
    point = tier.operating_point
    if tier.solved is None or point is None:
        return None
    return {
        "name": tier.solved,
        "value": getattr(tier.serving, tier.solved),
        "from": f"{point.tokens_per_s:g} tokens/s at {point.batch} x {point.context_tokens} tokens",
        **source_json(tier.sources["operating_point"]),
    }


def _extrapolated(tier: Tier) -> Iterator[str]:
    if tier.shape.params_total > LARGEST_PUBLIC_PARAMS:
        times = tier.shape.params_total / LARGEST_PUBLIC_PARAMS
        yield f"{times:.1f} times the size of any public model whose speed was measured"
    yield "decoding at 1M tokens of context: no public measurement"


def print_explanation(tier: Tier, gpu: Gpu, *, as_json: bool) -> None:
    found = explanation(tier, gpu)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    out = console()
    title = f"{tier.name} ({tier.id}) on {tier.serving.gpus} x {gpu.name}"
    out.print(_inputs_table(f"Inputs: {title}", found["inputs"]))
    out.print(_inputs_table(f"One {gpu.name}", found["gpu"]))
    for line in (*_size_lines(found), "", *_step_lines(found)):
        out.print(line)
    out.print(_speed_table(found))
    for line in _closing_lines(found):
        out.print(line)


def _inputs_table(title: str, rows: Mapping[str, Mapping[str, Any]]) -> Any:
    shown = table(title, ("Number", "Value and band", "Kind", "Source"), whole=("Number", "Value and band"))
    for name, row in rows.items():
        band = "" if row["low"] is None else f"\n{number_text(row['low'])} - {number_text(row['high'])}"
        said = f"{row['source']} ({row['note']})" if row["note"] else row["source"]
        style = "yellow" if row["kind"] == Kind.MODELLED else ""
        shown.add_row(
            name, f"{number_text(row['value'])}{band}", f"{row['kind']}\n{row['date']}", said, style=style
        )
    return shown


def _size_lines(found: Mapping[str, Any]) -> Iterator[str]:
    derived = found["derived"]
    pool, contexts = derived["kv_pool_tokens"], derived["contexts_of_1m_tokens"]
    yield f"weights {derived['weight_bytes']['value'] / 1e9:.0f} GB ({derived['weight_bytes']['source']})"
    yield (
        f"KV pool {pool['value'] / 1e6:.1f}M tokens ({pool['low'] / 1e6:.1f}M - {pool['high'] / 1e6:.1f}M): "
        f"{pool['formula']}"
    )
    yield (
        f"contexts of 1M tokens that fit: {contexts['value']} ({contexts['low']} - {contexts['high']}), "
        f"{derived['gigabytes_per_1m_context']['value']:.1f} GB each"
    )


def _step_lines(found: Mapping[str, Any]) -> Iterator[str]:
    step = found["step"]
    yield f"One step of {step['batch']} sequences at {step['context_tokens']:,} tokens:"
    yield from _part_lines(step)
    yield (
        f"  {'total':20} {step['total_us']:9.0f} us; {step['accepted_tokens']:g} tokens a step: "
        f"{step['tokens_per_s_per_user']:.1f} tokens/s/user"
    )

    chunk = found["prefill"]
    yield f"One chunk of a prompt alone, {chunk['tokens']:,} tokens at position {chunk['position']:,}:"
    yield from _part_lines(chunk)
    yield f"  {'total':20} {chunk['total_us']:9.0f} us; {chunk['tokens_per_s']:,.0f} tokens/s"


def _part_lines(step: Mapping[str, Any]) -> Iterator[str]:
    """Those that this step has: the rest is of the other kind of work."""
    for name, us in step["parts_us"].items():
        if us:
            yield f"  {name.removesuffix('_s'):20} {us:9.0f} us  {us / step['total_us']:5.1%}"


def _speed_table(found: Mapping[str, Any]) -> Any:
    shown = table(
        "Speeds, with their bands",
        ("Batch x context", "tokens/s/user", "Band", "tokens/s", "Kind"),
        whole=("Batch x context",),
    )
    for row in found["speeds"]:
        fits = "" if row["kv_fits"] else " (more than the KV pool holds)"
        shown.add_row(
            f"{row['batch']} x {row['context_tokens'] // 1000}k{fits}",
            f"{row['tokens_per_s_per_user']:.1f}",
            "" if row["low"] is None else f"{row['low']:.0f} - {row['high']:.0f}",
            f"{row['tokens_per_s']:.0f}",
            row["kind"],
        )
    for row in found["cold_ttft"]:
        shown.add_row(
            f"cold TTFT, {row['prompt_tokens'] // 1000}k",
            f"{row['ttft_s']:.2f} s",
            f"{row['low']:.2f} - {row['high']:.2f} s",
            f"floor {row['floor_s']:g} s",
            row["kind"],
        )
    return shown


def _closing_lines(found: Mapping[str, Any]) -> Iterator[str]:
    solved = found["solved"]
    if solved is None:
        yield "solved: nothing; no speed of this tier is published"
    else:
        yield f"solved: {solved['name']} = {solved['value']:.6g}, from {solved['from']} ({solved['kind']})"
    for kind in (Kind.ASSUMED, Kind.MODELLED):
        yield f"{kind}: {', '.join(found['kinds'][str(kind)])}"
    for text in found["extrapolated"]:
        yield f"extrapolated: {text}"
