"""JSON schemas before a value is made: references followed, several made one, the type that is meant."""

from collections.abc import Mapping
from typing import Any

_LOWER = frozenset({"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"})
_UPPER = frozenset({"maximum", "exclusiveMaximum", "maxLength", "maxItems"})


class SchemaError(ValueError):
    """No value is made for this schema: it is malformed, or asks for one beyond any sane size."""


def resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """Local $ref followed (a chain of at most 16), allOf merged. Raises SchemaError."""
    for _ in range(16):
        ref = schema.get("$ref")
        if not isinstance(ref, str):
            break
        rest = {name: value for name, value in schema.items() if name != "$ref"}
        schema = {**_target(ref, root), **rest}
    if isinstance(schema.get("allOf"), list):
        rest = {name: value for name, value in schema.items() if name != "allOf"}
        return merged([rest, *schema["allOf"]], root)
    return schema


def _target(ref: str, root: Mapping[str, Any]) -> Mapping[str, Any]:
    target: Any = root
    for part in ref[1:].strip("/").split("/") if ref != "#" else []:
        name = part.replace("~1", "/").replace("~0", "~")
        target = target.get(name) if isinstance(target, Mapping) else None
    if target is True:
        return {}
    if not ref.startswith("#") or not isinstance(target, Mapping):
        raise SchemaError(f"$ref {ref} leads to no schema within this one")
    return target


def merged(schemas: list[Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """One schema for all of them: what each requires, and the tighter bounds. Raises SchemaError."""
    found: dict[str, Any] = {}
    for schema in schemas:
        for name, value in (resolved(schema, root) if isinstance(schema, Mapping) else {}).items():
            found[name] = _both(name, found[name], value) if name in found else value
    return found


def _both(name: str, one: Any, other: Any) -> Any:
    """What a keyword says where two schemas have it; the later one where nothing better is known."""
    if name == "properties":
        twice = {key: {"allOf": [one[key], other[key]]} for key in one if key in other}
        return {**one, **other, **twice}
    if name == "required":
        return [*one, *other]
    if name in ("enum", "type"):
        common = _common_types(one, other) if name == "type" else [value for value in one if value in other]
        if not common:
            raise SchemaError(f"no {name} is allowed by all of its parts")
        return common
    if name in ("items", "additionalProperties"):
        return one and other and {"allOf": [part for part in (one, other) if part is not True]}
    if one is True or other is True:  # draft 4 has exclusive bounds as flags
        return True
    return max(one, other) if name in _LOWER else min(one, other) if name in _UPPER else other


def _common_types(one: Any, other: Any) -> list[str]:
    """integer is a number too."""
    first, second = ([kinds] if isinstance(kinds, str) else list(kinds) for kinds in (one, other))
    return [
        kind
        for kind in dict.fromkeys([*first, *second])
        if all(kind in kinds or (kind == "integer" and "number" in kinds) for kinds in (first, second))
    ]


def kind_of(schema: Mapping[str, Any]) -> str:
    """JSON's type of the value to make: the first that is not null, or what the keywords hint at."""
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((name for name in kind if name != "null"), "null")
    if isinstance(kind, str):
        return kind
    hints = {
        "object": ("properties", "required"),
        "array": ("items", "prefixItems"),
        "number": ("minimum", "maximum"),
    }
    return next((name for name, keys in hints.items() if any(key in schema for key in keys)), "string")
