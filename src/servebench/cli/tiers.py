"""`servebench tiers [TIER]`: the tiers of the catalog; of one tier, every number with kind, source and date.

A MODELLED value is marked so wherever it stands, with its band.
"""

import json
from pathlib import Path
from typing import Any

import click

from servebench.catalog.hardware import Gpu
from servebench.catalog.load import Catalog, load_catalog
from servebench.catalog.profile import with_profiles
from servebench.catalog.provenance import Kind, Source
from servebench.catalog.tiers import ReferenceModel, Tier
from servebench.cli.tier_figures import Speed, speed_of, weights_source
from servebench.cli.tier_numbers import number_text, numbers, source_json
from servebench.errors import UsageError


@click.command(name="tiers")
@click.argument("tier", required=False)
@click.option(
    "--explain",
    is_flag=True,
    help="How the speeds of TIER come about: inputs, step parts, what was solved, the uncertainty.",
)
@click.option(
    "--profile",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Tier profile (YAML of `servebench calibrate`) in place of the catalog's tier.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def command(tier: str | None, explain: bool, profile: Path | None, as_json: bool) -> None:
    """The model tiers of the catalog, each number with its source; TIER: every number of that tier."""
    catalog, profiled = with_profiles(load_catalog(), [profile] if profile else [])
    tier = tier or next(iter(profiled), None)
    if explain:
        if tier is None:
            raise UsageError("--explain is of one tier: name it, as `servebench tiers grok-4.3 --explain`")
        from servebench.cli.tier_explain import print_explanation

        one = catalog.tier(tier)
        print_explanation(one, catalog.gpu(one.serving.gpu_id), as_json=as_json)
        return
    tiers = list(catalog.tiers.values()) if tier is None else [catalog.tier(tier)]
    if as_json:
        click.echo(json.dumps(to_json(catalog, tiers, whole=tier is None), indent=2))
    elif tier is None:
        _print_all(catalog)
    else:
        _print_one(tiers[0], catalog.gpu(tiers[0].serving.gpu_id))


def to_json(catalog: Catalog, tiers: list[Tier], *, whole: bool) -> dict[str, Any]:
    """{"tiers": [...]}, and of the whole catalog its reference sizes, GPUs and clusters as well."""
    answer: dict[str, Any] = {"tiers": [_tier_json(t, catalog.gpu(t.serving.gpu_id)) for t in tiers]}
    if whole:
        answer["references"] = [
            {
                "id": ref.id,
                "name": ref.name,
                "maker": ref.maker,
                "params_total_low": ref.params_total_low,
                "params_total_high": ref.params_total_high,
                "note": ref.note,
                "sources": {key: source_json(source) for key, source in ref.sources.items()},
            }
            for ref in catalog.references.values()
        ]
        answer["clusters"] = [
            {
                "id": cluster.id,
                "name": cluster.name,
                "gpus": cluster.gpus,
                "gpu_ids": list(cluster.gpu_ids),
                "megawatts": cluster.megawatts,
                "pue": cluster.pue,
                "sources": {key: source_json(source) for key, source in cluster.sources.items()},
            }
            for cluster in catalog.clusters.values()
        ]
    return answer


def _tier_json(tier: Tier, gpu: Gpu) -> dict[str, Any]:
    speed = speed_of(tier, gpu)
    return {
        "id": tier.id,
        "name": tier.name,
        "aliases": list(tier.aliases),
        "status": tier.status,
        "default_reasoning_effort": tier.default_reasoning_effort,
        "gpu_id": tier.serving.gpu_id,
        "communication": tier.serving.communication,
        "weight_bytes": {"value": tier.shape.weight_bytes, **source_json(weights_source(tier))},
        "solved": tier.solved,
        "speed": {
            "tokens_per_s_per_user": speed.point.tokens_per_s,
            "batch": speed.point.batch,
            "context_tokens": speed.point.context_tokens,
            **source_json(speed.source),
        },
        "values": {
            name: {"value": value, **source_json(source)} for name, (value, source) in numbers(tier).items()
        },
    }


def _print_all(catalog: Catalog) -> None:
    from servebench.cli.tables import console, table

    columns = ("Tier", "Size", "Active", "Context", "Replica", "Weights", "User speed")
    shown = table(
        "Model tiers",
        columns,
        whole=("Tier", "Size", "Active", "Context", "Weights", "User speed"),
    )
    shown.leading = 1
    for tier in catalog.tiers.values():
        gpu = catalog.gpu(tier.serving.gpu_id)
        speed = speed_of(tier, gpu)
        shown.add_row(
            f"{tier.id}\n{tier.status}",
            _marked(tier.shape.params_total, tier.sources["params_total"], "{:.3g} T", 1e12),
            _marked(tier.shape.params_active, tier.sources["params_active"], "{:.3g} B", 1e9),
            _marked(tier.context_length_tokens, tier.sources["context_length_tokens"], "{:.3g} M", 1e6),
            f"{tier.serving.gpus} x {gpu.name}\n{tier.sources['gpus'].kind}",
            _marked(tier.shape.weight_bytes, weights_source(tier), "{:.0f} GB", 1e9),
            f"{_marked(speed.point.tokens_per_s, speed.source, '{:.0f} tok/s', 1)}\n{_where(speed)}",
        )
    out = console()
    out.print(shown)
    for ref in catalog.references.values():
        if ref.params_total_low is not None:
            out.print(_reference_line(ref), style="dim")
    for cluster in catalog.clusters.values():
        chips = "/".join(catalog.gpu(gpu_id).name for gpu_id in cluster.gpu_ids)
        out.print(
            f"Cluster {cluster.name}: {cluster.gpus:,}+ {chips}, {cluster.megawatts:g} MW,"
            f" PUE < {cluster.pue:g} ({cluster.sources['gpus'].kind}, {cluster.sources['gpus'].date})",
            style="dim",
        )
    out.print("MODELLED: nobody has published it; its band follows it. tok/s: of one user.", style="dim")
    out.print("`servebench tiers TIER` shows every number with its source.", style="dim")


def _reference_line(ref: ReferenceModel) -> str:
    assert ref.params_total_low is not None
    assert ref.params_total_high is not None
    low, high = ref.params_total_low / 1e12, ref.params_total_high / 1e12
    size = f"{low:g} T" if low == high else f"{low:g}-{high:g} T"
    source = ref.sources["params_total_low"]
    return f"Reference size {ref.name} ({ref.maker}): {size}, {source.note or source.kind}; {source.source}"


def _marked(value: float, source: Source, form: str, unit: float) -> str:
    """The value, then its kind; a MODELLED one with its band."""
    text = form.format(value / unit)
    if source.kind is not Kind.MODELLED:
        return f"{text}\n{source.kind}"
    if source.low is None or source.high is None:
        return f"{text}\nMODELLED"
    number = form.split(" ")[0]
    return f"{text}\nMODELLED\n{number.format(source.low / unit)}-{number.format(source.high / unit)}"


def _print_one(tier: Tier, gpu: Gpu) -> None:
    from servebench.cli.tables import console, table

    speed = speed_of(tier, gpu)
    shown = table(
        f"{tier.name} ({tier.id}), {tier.status}, on {tier.serving.gpus} x {gpu.name}",
        ("Number", "Value and band", "Kind", "Source"),
        whole=("Number", "Value and band", "Kind"),
    )
    figures = {
        f"tok/s {_where(speed)}": (speed.point.tokens_per_s, speed.source),
        **numbers(tier),
    }
    for name, (value, source) in figures.items():
        low, high = source.low, source.high
        band = f"\n{number_text(low)} - {number_text(high)}" if low is not None and high is not None else ""
        said = f"{source.source} ({source.note})" if source.note else source.source
        style = "yellow" if source.kind is Kind.MODELLED else ""
        shown.add_row(name, f"{number_text(value)}{band}", f"{source.kind}\n{source.date}", said, style=style)
    out = console()
    out.print(shown)
    if tier.solved:
        out.print(f"Solved by calibration: {tier.solved}", style="dim")


def _where(speed: Speed) -> str:
    return f"at {speed.point.batch} x {speed.point.context_tokens // 1000}k"
