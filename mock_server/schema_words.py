"""The words that the schemas of /openapi.json are made of."""

from typing import Any

from mock_server.fields import MAX_INTEGER

Schema = dict[str, Any]
STRING: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer", "minimum": -MAX_INTEGER, "maximum": MAX_INTEGER}
COUNT: Schema = {"type": "integer", "minimum": 0}
BOOLEAN: Schema = {"type": "boolean"}
MAP: Schema = {"type": "object"}
UUID: Schema = {"type": "string", "format": "uuid"}


def an_object(required: Schema, optional: Schema | None = None) -> Schema:
    return {
        "type": "object",
        "required": list(required),
        "properties": {**required, **(optional or {})},
    }


def nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def maybe(fields: dict[str, Schema]) -> dict[str, Schema]:
    """Each may be absent or null."""
    return {name: nullable(schema) for name, schema in fields.items()}


def an_array(items: Schema, **bounds: int) -> Schema:
    return {"type": "array", "items": items, **bounds}
