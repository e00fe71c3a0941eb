"""Fields of a request's body: present, of the right type and within their bounds, or refused."""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from mock_server.refusals import invalid_argument, not_json, wrong_type

MAX_INTEGER = 2**53 - 1  # what every JSON reader agrees on
_NAMES: Mapping[type, str] = {
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "a boolean",
    list: "a sequence",
    dict: "a map",
}
_TYPES: Mapping[type, str] = {
    bool: "boolean",
    int: "integer",
    float: "floating point",
    str: "string",
    list: "sequence",
    dict: "map",
    type(None): "null",
}


def json_object(raw: bytes) -> dict[str, Any]:
    """Raises RefusalError: 400 for what is not JSON, 422 for what is no object."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise not_json(str(error)) from None
    if not isinstance(body, dict):
        raise wrong_type("expected a JSON object")
    return body


def field(body: Mapping[str, Any], name: str, kind: type) -> Any:
    """The value where it is of this kind (bool is no number); None where absent or null. Raises 422."""
    value = body.get(name)
    if value is None:
        return None
    if kind is int and isinstance(value, float) and value.is_integer():
        value = int(value)  # to JSON schema 2.0 is an integer
    if kind is int and isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise wrong_type(f"{name}: invalid value: integer `{value}`, out of range")
    wanted = (int, float) if kind is float else kind
    if isinstance(value, wanted) and not (isinstance(value, bool) and kind is not bool):
        return value
    raise wrong_type(f"{name}: invalid type: {json_type(value)}, expected {_NAMES[kind]}")


def required(body: Mapping[str, Any], name: str, kind: type) -> Any:
    value = field(body, name, kind)
    if value is None:
        raise wrong_type(f"missing field `{name}`")
    return value


def bounded(body: Mapping[str, Any], name: str, kind: type, low: float, high: float) -> Any:
    """Raises RefusalError: 422 for another type, 400 beyond the bounds."""
    value = field(body, name, kind)
    if value is not None and not low <= value <= high:
        raise invalid_argument(f"{name} must be between {low:g} and {high:g}, got {value}.")
    return value


def positive(body: Mapping[str, Any], name: str) -> int | None:
    """Raises RefusalError: 422 for no integer, 400 below 1."""
    value: int | None = field(body, name, int)
    if value is not None and value < 1:
        raise invalid_argument(f"{name} must be at least 1, got {value}.")
    return value


def one_of(body: Mapping[str, Any], name: str, known: Iterable[str]) -> str | None:
    """Raises RefusalError: 422 for no string, 400 for an unknown one."""
    value: str | None = field(body, name, str)
    names = list(known)
    if value is not None and value not in names:
        raise invalid_argument(f"{name}: {value} is not one of {', '.join(names)}.")
    return value


def json_type(value: object) -> str:
    return _TYPES[type(value)]


def listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))
