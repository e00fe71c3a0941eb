"""A value that satisfies a JSON schema, deterministic for a given generator state.

Knows: $ref to local definitions, enum, const, anyOf/oneOf (the first; the last once deep), allOf (merged),
type lists, object with properties and required, array with items/prefixItems and minItems/maxItems, string
with pattern, minLength/maxLength and the usual formats, number and integer with bounds and multipleOf,
boolean, null.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from mock_server.pattern_text import PatternError, pattern_text

_MAX_DEPTH = 6
_TRIES = 50  # of a text that both a pattern and bounds of its length must hold
_WORDS = (
    "north",
    "paper",
    "seven",
    "river",
    "amber",
    "quick",
    "stone",
    "light",
    "maple",
    "ocean",
    "field",
    "cloud",
)
_FORMATS: Mapping[str, str] = {
    "date-time": "2026-11-24T12:00:00Z",
    "date": "2026-11-24",
    "time": "12:00:00Z",
    "duration": "PT5M",
    "email": "user@example.com",
    "uuid": "3f2b8c1e-6d0a-4c57-9b1e-5e12be9c4a11",
    "uri": "https://example.com/item",
    "url": "https://example.com/item",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
}


class SchemaError(ValueError):
    """No value is made for this schema: it is malformed, or asks for one beyond any sane size."""


@dataclass(slots=True)
class _Draw:
    """Where references point, the generator, and how much may still be made."""

    root: Mapping[str, Any]
    rng: Random
    room: int = 20_000  # values and characters; an answer of some 5,000 tokens

    def is_generous(self, depth: int) -> bool:
        """Whether what is not required is made as well: not once deep, nor once much has been made."""
        return depth < _MAX_DEPTH and self.room > 19_000

    def take(self, amount: int) -> None:
        self.room -= amount
        if self.room < 0:
            raise SchemaError("the smallest value that satisfies it is too large")


def schema_value(schema: Mapping[str, Any], rng: Random) -> Any:
    """A JSON value for the schema; {} gives an object with one text member. Raises SchemaError."""
    if not schema:
        return {"answer": _words(rng, 4)}
    try:
        return _value(schema, _Draw(schema, rng), 0)
    except SchemaError:
        raise
    except PatternError as error:
        raise SchemaError(str(error)) from None
    except RecursionError:
        raise SchemaError("it refers to itself without an end") from None
    except (TypeError, ValueError, ArithmeticError, AttributeError, LookupError) as error:
        # a keyword of the wrong type, of which there are more ways than checks are worth
        raise SchemaError(f"a keyword has a value of the wrong kind ({error})") from None


def _value(schema: Any, draw: _Draw, depth: int) -> Any:
    draw.take(1)
    rng, root = draw.rng, draw.root
    if not isinstance(schema, Mapping):  # true: anything goes
        return _words(rng, 1)
    schema = _resolved(schema, root)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return rng.choice(schema["enum"])
    for key in ("anyOf", "oneOf"):
        if schema.get(key):
            rest = {name: value for name, value in schema.items() if name != key}
            option = schema[key][0 if draw.is_generous(depth) else -1]  # a tree ends by its other branch
            return _value(_merged([rest, option], root), draw, depth + 1)
    kind = _kind(schema)
    if kind == "object":
        return _object(schema, draw, depth)
    if kind == "array":
        return _array(schema, draw, depth)
    if kind == "string":
        return _string(schema, draw)
    if kind in ("number", "integer"):
        return _number(schema, rng, whole=kind == "integer")
    return rng.random() < 0.5 if kind == "boolean" else None


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """Local $ref followed (a chain of at most 16), allOf merged."""
    for _ in range(16):
        ref = schema.get("$ref")
        if not isinstance(ref, str) or not ref.startswith("#"):
            break
        target: Any = root
        for part in ref[1:].strip("/").split("/") if ref != "#" else []:
            target = (
                target.get(part.replace("~1", "/").replace("~0", "~"), {})
                if isinstance(target, Mapping)
                else {}
            )
        schema = {
            **(target if isinstance(target, Mapping) else {}),
            **{k: v for k, v in schema.items() if k != "$ref"},
        }
    if isinstance(schema.get("allOf"), list):
        rest = {name: value for name, value in schema.items() if name != "allOf"}
        return _merged([rest, *schema["allOf"]], root)
    return schema


def _merged(schemas: list[Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    merged: dict[str, Any] = {}
    for schema in schemas:
        for name, value in (_resolved(schema, root) if isinstance(schema, Mapping) else {}).items():
            if name == "properties" and isinstance(merged.get(name), dict):
                merged[name] = {**merged[name], **value}
            elif name == "required" and isinstance(merged.get(name), list):
                merged[name] = [*merged[name], *value]
            else:
                merged[name] = value
    return merged


def _kind(schema: Mapping[str, Any]) -> str:
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


def _object(schema: Mapping[str, Any], draw: _Draw, depth: int) -> dict[str, Any]:
    required = list(schema.get("required", ()))
    properties = schema.get("properties", {})
    names = [name for name in properties if name in required or draw.is_generous(depth)]
    names += [name for name in required if name not in properties]
    return {name: _value(properties.get(name, True), draw, depth + 1) for name in names}


def _array(schema: Mapping[str, Any], draw: _Draw, depth: int) -> list[Any]:
    low = int(schema.get("minItems", 0))
    high = int(schema.get("maxItems", low + 2))
    wanted = max(low, min(high, 2 if draw.is_generous(depth) else low))
    if wanted > draw.room:
        draw.take(wanted)
    prefix = schema.get("prefixItems", [])
    items = schema.get("items", True)
    values: list[Any] = []
    for attempt in range(20 * wanted + 1):
        if len(values) == wanted:
            break
        here = prefix[len(values)] if len(values) < len(prefix) else items
        value = _value(here, draw, depth + 1)
        if schema.get("uniqueItems") and value in values and attempt < 20 * wanted:
            continue
        values.append(value)
    return values


def _string(schema: Mapping[str, Any], draw: _Draw) -> str:
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    low = int(schema.get("minLength", 0))
    draw.take(low)
    if isinstance(schema.get("pattern"), str):
        return _matching(schema["pattern"], low, schema.get("maxLength"), draw)
    text = _words(draw.rng, draw.rng.randint(1, 3))
    while len(text) < low:
        text += " " + _words(draw.rng, 1)
    return text[: max(low, int(schema.get("maxLength", len(text))))]


def _matching(pattern: str, low: int, high: Any, draw: _Draw) -> str:
    for _ in range(_TRIES):
        text = pattern_text(pattern, draw.rng, draw.take)
        if len(text) >= low and (high is None or len(text) <= high):
            return text
    raise SchemaError(f"no text of the wanted length was found for the pattern {pattern!r}")


def _number(schema: Mapping[str, Any], rng: Random, *, whole: bool) -> int | float:
    step = schema.get("multipleOf", 1 if whole else None)
    gap = step if step is not None else 1e-6
    bounds: list[float | None] = []
    for key, exclusive, inward in (
        ("minimum", "exclusiveMinimum", gap),
        ("maximum", "exclusiveMaximum", -gap),
    ):
        bound, strict = schema.get(key), schema.get(exclusive)
        if strict is True:  # draft 4
            bounds.append(None if bound is None else bound + inward)
        elif strict is not None and strict is not False:
            bounds.append(strict + inward)
        else:
            bounds.append(bound)
    low, high = bounds
    if low is None:
        low = 0 if high is None else min(0, high - 100)
    if high is None:
        high = low + 100
    if step is None:
        return round(low + (high - low) * rng.random(), 3) if high - low > 1 else (low + high) / 2
    first, last = -(-low // step), high // step
    multiple = rng.randint(int(first), max(int(first), int(last))) * step
    return int(multiple) if whole else multiple


def _words(rng: Random, count: int) -> str:
    return " ".join(rng.choice(_WORDS) for _ in range(count))
