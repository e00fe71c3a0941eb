"""Reads the YAML files of the catalog. All that is wrong with one comes out as one UsageError."""

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from servebench.catalog.cited import Row, SourceRow
from servebench.catalog.provenance import Source
from servebench.errors import UsageError

DATA = Path(__file__).parent / "data"  # the shipped files
M = TypeVar("M", bound=BaseModel)
_SafeLoader: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _UniqueKeys(_SafeLoader):  # type: ignore[misc]  # the C loader is there on most platforms only
    """YAML's plain loader keeps the last of two equal keys without a word: a price could change unseen."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = str(key_node.value)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", key_node.start_mark
                )
            seen.add(key)
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep=deep)
        return mapping


class Head(Row):
    """What every file starts with: the sources that its rows name."""

    sources: dict[str, SourceRow]
    default: str | None = None


def files_like(directory: Path, pattern: str) -> list[Path]:
    """The directory's files whose name fits the pattern, by name."""
    return sorted(directory.glob(pattern))


def read_catalog_file(path: Path, body: type[M]) -> M:
    """parse_catalog_file of what the file holds; a UsageError too where it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from None
    return parse_catalog_file(path.name, text, body)


def parse_catalog_file(name: str, text: str, body: type[M]) -> M:
    """The rows of the file's text, validated against `body`, each number with its source.

    Raises UsageError with every problem found: bad YAML, wrong or missing keys and values.
    """
    data = parse_mapping(name, text)
    head_data = {key: data.pop(key) for key in ("sources", "default") if key in data}
    problems: list[str] = []
    sources: dict[str, Source] = {}
    try:
        head = Head.model_validate(head_data)
        sources = {key: row.to_source() for key, row in head.sources.items()}
        if head.default is not None and head.default not in sources:
            problems.append(f"{name}: default: names no source of this file: {head.default}")
    except ValidationError as error:
        problems += sentences(name, error)
    context = {"sources": sources, "default": head_data.get("default")}
    try:
        rows = body.model_validate(data, context=context)
    except ValidationError as error:
        raise UsageError(*problems, *sentences(name, error)) from None
    if problems:
        raise UsageError(*problems)
    return rows


def parse_mapping(name: str, text: str) -> dict[str, Any]:
    """The text's top-level mapping; UsageError where there is none."""
    try:
        data = yaml.load(text, Loader=_UniqueKeys)
    except yaml.YAMLError as error:
        raise UsageError(f"{name}: is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        raise UsageError(f"{name}: must be a mapping of keys to values")
    return data


def sentences(name: str, error: ValidationError) -> list[str]:
    """One line for each of pydantic's complaints: file, place, what is wrong."""
    lines = []
    for item in error.errors(include_url=False):
        place = ".".join(str(part) for part in item["loc"])
        message = item["msg"].removeprefix("Value error, ")
        lines.append(f"{name}: {place}: {message}" if place else f"{name}: {message}")
    return lines


def merged(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """own over defaults, mapping by mapping; a cited value ({value: ...}) is replaced whole."""
    result = dict(defaults)
    for key, value in own.items():
        known = result.get(key)
        both = isinstance(known, Mapping) and isinstance(value, Mapping)
        result[key] = merged(known, value) if both and "value" not in known else value  # type: ignore[arg-type,operator]
    return result
