"""A checker of JSON schemas, written apart from the generator that it judges."""

import re
from collections.abc import Callable
from typing import Any


def violations(value: Any, schema: Any, root: Any = None, path: str = "$") -> list[str]:
    """What is wrong with value; [] where it satisfies the schema (the keywords that the mock knows)."""
    root = schema if root is None else root
    if schema is True or schema == {}:
        return []
    if "not" in schema:
        return [] if violations(value, schema["not"], root, path) else [f"{path}: is what it must not be"]
    if "$ref" in schema:
        target = root
        for part in schema["$ref"].lstrip("#").strip("/").split("/"):
            target = target[part]
        return violations(value, target, root, path)
    found = choice_violations(value, schema, root, path)
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(is_kind(value, kind) for kind in kinds):
        return [*found, f"{path}: {value!r} is not {kinds}"]
    if isinstance(value, dict):
        found += object_violations(value, schema, root, path)
    elif isinstance(value, list):
        found += array_violations(value, schema, root, path)
    elif isinstance(value, str):
        found += string_violations(value, schema, path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        found += number_violations(value, schema, path)
    return found


def choice_violations(value: Any, schema: Any, root: Any, path: str) -> list[str]:
    found = []
    if "const" in schema and value != schema["const"]:
        found.append(f"{path} is not {schema['const']!r}")
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{path} is none of {schema['enum']!r}")
    if "anyOf" in schema and all(violations(value, option, root, path) for option in schema["anyOf"]):
        found.append(f"{path} fits no option")
    for part in schema.get("allOf", ()):
        found += violations(value, part, root, path)
    return found


def is_kind(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    kinds = {
        "object": dict,
        "array": list,
        "string": str,
        "integer": int,
        "number": (int, float),
        "null": type(None),
    }
    return kind != "boolean" and isinstance(value, kinds[kind])  # type: ignore[arg-type]


def object_violations(value: dict[str, Any], schema: Any, root: Any, path: str) -> list[str]:
    properties = schema.get("properties", {})
    found = [f"{path}.{name} is missing" for name in schema.get("required", ()) if name not in value]
    for name, inner in value.items():
        if name in properties:
            found += violations(inner, properties[name], root, f"{path}.{name}")
        elif schema.get("additionalProperties") is False:
            found.append(f"{path}.{name} is not allowed")
    return found


def array_violations(value: list[Any], schema: Any, root: Any, path: str) -> list[str]:
    found = []
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", 10**9):
        found.append(f"{path}: {len(value)} items")
    if schema.get("uniqueItems") and any(item in value[:i] for i, item in enumerate(value)):
        found.append(f"{path}: items repeat")
    for i, item in enumerate(value):
        found += violations(item, schema.get("items", True), root, f"{path}[{i}]")
    return found


def string_violations(value: str, schema: Any, path: str) -> list[str]:
    found = []
    if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 10**9):
        found.append(f"{path}: length {len(value)}")
    if schema.get("format") == "date" and not re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        found.append(f"{path}: {value!r} is no date")
    return found


def number_violations(value: float, schema: Any, path: str) -> list[str]:
    checks: dict[str, Callable[[float], bool]] = {
        "minimum": lambda bound: value >= bound,
        "maximum": lambda bound: value <= bound,
        "exclusiveMinimum": lambda bound: value > bound,
        "exclusiveMaximum": lambda bound: value < bound,
        "multipleOf": lambda step: abs(value / step - round(value / step)) < 1e-9,
    }
    return [
        f"{path}: {value} against {key}"
        for key, holds in checks.items()
        if key in schema and not holds(schema[key])
    ]
