"""The sourced numbers of a tier, as values, as text and as JSON."""

from dataclasses import fields
from typing import Any

from servebench.catalog.provenance import Source
from servebench.catalog.tiers import Tier


def numbers(tier: Tier) -> dict[str, tuple[Any, Source]]:
    """Every sourced value of the tier by the name of its source key, in the order of the definitions."""
    found: dict[str, tuple[Any, Source]] = {}
    for part in (tier, tier.shape, tier.serving):
        for field in fields(part):
            if field.name in tier.sources and field.name != "operating_point":
                found[field.name] = (getattr(part, field.name), tier.sources[field.name])
    for effort, median in tier.reasoning_tokens.items():
        key = f"reasoning_tokens.{effort}"
        found[key] = (median, tier.sources[key])
    return found


def source_json(source: Source) -> dict[str, Any]:
    return {field.name: getattr(source, field.name) for field in fields(source)}


def number_text(value: float) -> str:
    """Integers in full, and whole numbers up to ten million; the rest to six digits."""
    if isinstance(value, int) or (value == int(value) and abs(value) < 1e7):
        return f"{int(value):,}"
    return f"{value:.6g}"
