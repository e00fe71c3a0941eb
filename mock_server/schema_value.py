"""A value that satisfies a JSON schema, deterministic for a given generator state.

Knows: $ref to local definitions, enum, const, anyOf/oneOf (the first; the last once deep), allOf (merged, the
tighter bounds hold), type lists, object with properties, required and minProperties, array with
items/prefixItems, minItems/maxItems and uniqueItems, string with pattern, minLength/maxLength and the usual
formats, number and integer with bounds and multipleOf, boolean, null. Keywords that forbid what these make
(UNBUILT) are refused, and so are bounds between which nothing lies.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from mock_server.pattern_text import PatternError, pattern_text
from mock_server.schema_merge import SchemaError, kind_of, merged, resolved

UNBUILT = ("not", "if", "contains", "dependentRequired", "dependentSchemas", "dependencies")
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
    schema = resolved(schema, root)
    for name in UNBUILT:
        if name in schema:
            raise SchemaError(f"{name} is not followed here")
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return rng.choice(schema["enum"])
    for key in ("anyOf", "oneOf"):
        if schema.get(key):
            return _option(schema, key, draw, depth)
    kind = kind_of(schema)
    if kind == "object":
        return _object(schema, draw, depth)
    if kind == "array":
        return _array(schema, draw, depth)
    if kind == "string":
        return _string(schema, draw)
    if kind in ("number", "integer"):
        return _number(schema, rng, whole=kind == "integer")
    return rng.random() < 0.5 if kind == "boolean" else None


def _option(schema: Mapping[str, Any], key: str, draw: _Draw, depth: int) -> Any:
    """The first of which a value can be made; once deep from the last on: a tree ends by its other branch."""
    rest = {name: value for name, value in schema.items() if name != key}
    options = list(schema[key] if draw.is_generous(depth) else reversed(schema[key]))
    while True:
        try:
            return _value(merged([rest, options.pop(0)], draw.root), draw, depth + 1)
        except SchemaError:
            if not options:
                raise


def _object(schema: Mapping[str, Any], draw: _Draw, depth: int) -> dict[str, Any]:
    required = list(schema.get("required", ()))
    properties = schema.get("properties", {})
    names = [name for name in properties if name in required or draw.is_generous(depth)]
    names += [name for name in required if name not in properties]
    made = {name: _value(properties.get(name, True), draw, depth + 1) for name in names}
    others = schema.get("additionalProperties", True)
    for number in range(1, int(schema.get("minProperties", 0)) - len(made) + 1):
        if others is False or "propertyNames" in schema:
            raise SchemaError("minProperties asks for more properties than are named")
        made[f"key{number}"] = _value(others, draw, depth + 1)
    return made


def _array(schema: Mapping[str, Any], draw: _Draw, depth: int) -> list[Any]:
    low = int(schema.get("minItems", 0))
    high = int(schema.get("maxItems", low + 2))
    if low > high:
        raise SchemaError(f"minItems {low} is above maxItems {high}")
    wanted = min(high, max(low, 2 if draw.is_generous(depth) else low))
    if wanted > draw.room:
        draw.take(wanted)
    prefix = schema.get("prefixItems", [])
    items = schema.get("items", True)
    values: list[Any] = []
    for _ in range(_TRIES * wanted):
        if len(values) == wanted:
            break
        here = prefix[len(values)] if len(values) < len(prefix) else items
        value = _value(here, draw, depth + 1)
        if not (schema.get("uniqueItems") and value in values):
            values.append(value)
    if len(values) < low:
        raise SchemaError(f"no {low} different items were found")
    return values


def _string(schema: Mapping[str, Any], draw: _Draw) -> str:
    low, high = int(schema.get("minLength", 0)), schema.get("maxLength")
    if high is not None and low > high:
        raise SchemaError(f"minLength {low} is above maxLength {high}")
    draw.take(low)
    if schema.get("format") in _FORMATS:
        return _fitting(_FORMATS[schema["format"]], low, high, f"the format {schema['format']}")
    if isinstance(schema.get("pattern"), str):
        return _matching(schema["pattern"], low, high, draw)
    text = _words(draw.rng, draw.rng.randint(1, 3))
    while len(text) < low:
        text += " " + _words(draw.rng, 1)
    return text if high is None else text[: int(high)]


def _fitting(text: str, low: int, high: Any, of: str) -> str:
    if len(text) < low or (high is not None and len(text) > high):
        raise SchemaError(f"no text of the wanted length was found for {of}")
    return text


def _matching(pattern: str, low: int, high: Any, draw: _Draw) -> str:
    for _ in range(_TRIES):
        text = pattern_text(pattern, draw.rng, draw.take)
        if len(text) >= low and (high is None or len(text) <= high):
            return text
    raise SchemaError(f"no text of the wanted length was found for the pattern {pattern!r}")


def _number(schema: Mapping[str, Any], rng: Random, *, whole: bool) -> int | float:
    step = schema.get("multipleOf", 1 if whole else None)
    gap = 1 if whole else 1e-6
    low: float | None = _bound(schema, "minimum", "exclusiveMinimum", gap, max)
    high: float | None = _bound(schema, "maximum", "exclusiveMaximum", -gap, min)
    if low is not None and high is not None and low > high:
        raise SchemaError(f"no number lies between {low:g} and {high:g}")
    if low is None:
        low = 0 if high is None else min(0, high - 100)
    if high is None:
        high = low + max(100, step or 0)
    if step is None:
        drawn = low + (high - low) * rng.random()
        return min(high, max(low, round(drawn, 3))) if high - low > 1 else (low + high) / 2
    first, last = int(-(-low // step)), int(high // step)
    if first > last:
        raise SchemaError(f"no multiple of {step:g} lies between {low:g} and {high:g}")
    multiple = rng.randint(first, last) * step
    return int(multiple) if whole else multiple


def _bound(
    schema: Mapping[str, Any], key: str, exclusive: str, inward: float, inner: Callable[..., Any]
) -> Any:
    """The innermost value that both keywords allow; None where neither is given."""
    bound, strict = schema.get(key), schema.get(exclusive)
    if strict is True:  # draft 4
        return None if bound is None else bound + inward
    given = [bound, None if strict is None or strict is False else strict + inward]
    return inner((value for value in given if value is not None), default=None)


def _words(rng: Random, count: int) -> str:
    return " ".join(rng.choice(_WORDS) for _ in range(count))
