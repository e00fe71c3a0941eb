"""Profiles: a tier written down whole, in the form of tiers.yaml, to be edited and served in place of the
catalog's.

A profile holds every number with its source, so that it stays what it was when the catalog changes.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from servebench.catalog.cited import Cited, Row
from servebench.catalog.load import Catalog, cross_checks
from servebench.catalog.provenance import Source
from servebench.catalog.tier_file import ServingRow, ShapeRow, TierFile, TierRow
from servebench.catalog.tiers import Tier
from servebench.catalog.yaml_file import read_catalog_file
from servebench.errors import UsageError


def with_profiles(catalog: Catalog, paths: Iterable[Path]) -> tuple[Catalog, list[str]]:
    """The catalog with the tiers of these files in place of its own, and their ids in order.

    Raises UsageError with every problem of the first faulty file, or of a profile against the catalog.
    """
    found: dict[str, Tier] = {}
    for path in paths:
        rows = read_catalog_file(path, TierFile).tiers
        twice = [tier_id for tier_id in rows if tier_id in found]
        if twice:
            raise UsageError(f"{path.name}: the tier {twice[0]} stands in another profile as well")
        found |= {tier_id: row.to_tier(tier_id) for tier_id, row in rows.items()}
    aliases = {alias: tier.id for tier in found.values() for alias in tier.aliases}
    changed = replace(catalog, tiers={**catalog.tiers, **found}, aliases={**catalog.aliases, **aliases})
    problems = cross_checks(changed)
    if problems:
        raise UsageError(*problems)
    return changed, list(found)


def profile_text(tier: Tier, *, head: str = "") -> str:
    """The tier as the text of a profile; with_profiles() gives it back. head: what the first comment says."""
    names: dict[tuple[str, str, str], str] = {}
    body = [f"  {tier.id}:", *_lines(TierRow, tier, tier, names, indent=4)]
    said = [f"# {line}" for line in (head or f"A profile of {tier.name}.").splitlines()]
    said.append("# Every number names its source (`from`); low and high are its band.")
    sources = [
        f"  {name}: {{kind: {kind}, source: {json.dumps(text)}, date: {json.dumps(date)}}}"
        for (kind, text, date), name in names.items()
    ]
    return "\n".join([*said, "sources:", *sources, "", "tiers:", *body, ""])


_NESTED: dict[str, type[Row]] = {"shape": ShapeRow, "serving": ServingRow}


def _lines(
    row: type[Row], part: Any, tier: Tier, names: dict[tuple[str, str, str], str], *, indent: int
) -> Iterator[str]:
    pad = " " * indent
    for name, field in row.model_fields.items():
        if name in _NESTED:
            yield f"{pad}{name}:"
            yield from _lines(_NESTED[name], getattr(tier, name), tier, names, indent=indent + 2)
        elif isinstance(values := getattr(part, name, None), Mapping):
            yield f"{pad}{name}:" if values else f"{pad}{name}: {{}}"
            for key, value in values.items():
                yield f"{pad}  {key}: {_cited(value, tier.sources[f'{name}.{key}'], names)}"
        elif name == "operating_point":
            yield from _operating_point(tier, names, pad)
        elif name == "params_non_expert_share":
            share = round(part.params_non_expert / part.params_active, 12) if part.experts else 1.0
            yield f"{pad}{name}: {_cited(share, tier.sources[name], names)}"
        elif _is_cited(field.annotation):
            value = getattr(part, name)
            if value is not None:
                yield f"{pad}{name}: {_cited(value, tier.sources[name], names)}"
        elif (value := getattr(part, name)) is not None:
            yield f"{pad}{name}: {json.dumps(value)}"


def _operating_point(tier: Tier, names: dict[tuple[str, str, str], str], pad: str) -> Iterator[str]:
    point = tier.operating_point
    if point is not None:
        yield f"{pad}operating_point:"
        yield f"{pad}  batch: {point.batch}"
        yield f"{pad}  context_tokens: {point.context_tokens}"
        speed = _cited(point.tokens_per_s, tier.sources["operating_point"], names)
        yield f"{pad}  tokens_per_s: {speed}"


def _is_cited(annotation: Any) -> bool:
    parts = (annotation, *getattr(annotation, "__args__", ()))
    return any(isinstance(part, type) and issubclass(part, Cited) for part in parts)


def _cited(value: float, source: Source, names: dict[tuple[str, str, str], str]) -> str:
    """A flow mapping; its source gets a name of its kind and a number."""
    key = (str(source.kind), source.source, source.date)
    if key not in names:
        alike = sum(kind == key[0] for kind, _, _ in names)
        names[key] = f"{key[0].lower()}-{alike + 1}"
    parts = [f"value: {value!r}", f"from: {names[key]}"]
    parts += [
        f"{end}: {bound!r}"
        for end, bound in (("low", source.low), ("high", source.high))
        if bound is not None
    ]
    if source.note:
        parts.append(f"note: {json.dumps(source.note)}")
    return "{" + ", ".join(parts) + "}"
