"""Generated values satisfy their schemas, judged by a checker of its own."""

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mock_server.schema_merge import SchemaError
from mock_server.schema_value import UNBUILT, schema_value
from tests.mock_server.json_schema import violations


def bounded(
    low: st.SearchStrategy[float], width: st.SearchStrategy[float], kind: str
) -> st.SearchStrategy[Any]:
    return st.builds(lambda a, w: {"type": kind, "minimum": a, "maximum": a + w}, low, width)


strings = st.builds(
    lambda low, width: {"type": "string", "minLength": low, "maxLength": low + width},
    st.integers(0, 30),
    st.integers(0, 10),
)
leaves = st.one_of(
    st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"type": ["null", "string"]}, {"const": 7}, {}]),
    st.sampled_from([{"type": "string", "format": "date"}, {"type": "integer", "multipleOf": 5}]),
    st.sampled_from([{"type": "integer", "exclusiveMinimum": 3}, {"type": "number", "exclusiveMaximum": 0}]),
    st.lists(st.one_of(st.integers(), st.text(max_size=5)), min_size=1, max_size=4).map(
        lambda v: {"enum": v}
    ),
    strings,
    bounded(st.integers(-50, 50), st.integers(0, 9), "integer"),
    bounded(st.floats(-50, 50), st.floats(0, 9), "number"),
)


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    objects = st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, max_size=4).flatmap(
        lambda properties: st.builds(
            lambda required, closed: {
                "type": "object",
                "properties": properties,
                "required": required,
                **({"additionalProperties": False} if closed else {}),
            },
            st.lists(st.sampled_from(sorted(properties)), unique=True) if properties else st.just([]),
            st.booleans(),
        )
    )
    arrays = st.builds(
        lambda items, low, width: {"type": "array", "items": items, "minItems": low, "maxItems": low + width},
        inner,
        st.integers(0, 4),
        st.integers(0, 3),
    )
    options = st.lists(inner, min_size=1, max_size=3).map(lambda v: {"anyOf": v})
    return st.one_of(objects, arrays, options)


@given(schema=st.recursive(leaves, containers, max_leaves=12), seed=st.integers(0, 2**32))
def test_a_value_satisfies_its_schema(schema: Any, seed: int) -> None:
    value = schema_value(schema, Random(seed))
    assert violations(value, schema) == []
    assert schema_value(schema, Random(seed)) == value


def test_references_merges_and_recursion() -> None:
    schema = {
        "$defs": {
            "node": {
                "type": "object",
                "properties": {
                    "name": {"$ref": "#/$defs/name"},
                    "children": {"type": "array", "items": {"$ref": "#/$defs/node"}, "maxItems": 2},
                },
                "required": ["name"],
            },
            "name": {"type": "string", "minLength": 3},
        },
        "allOf": [
            {"type": "object", "properties": {"root": {"$ref": "#/$defs/node"}}, "required": ["root"]},
            {
                "properties": {
                    "ids": {"type": "array", "items": {"enum": [1, 2, 3]}, "uniqueItems": True, "minItems": 3}
                }
            },
        ],
        "required": ["ids"],
    }
    for seed in range(20):
        value = schema_value(schema, Random(seed))
        assert violations(value, schema) == []
        assert sorted(value["ids"]) == [1, 2, 3]


@pytest.mark.parametrize(
    "schema",
    [
        {"allOf": [{"type": "integer", "minimum": 5, "maximum": 9}, {"minimum": 3, "maximum": 6}]},
        {"type": "integer", "minimum": 4, "exclusiveMinimum": 2, "maximum": 5, "exclusiveMaximum": 9},
        {"type": "integer", "multipleOf": 5, "exclusiveMinimum": 3, "exclusiveMaximum": 7},
        {"type": "integer", "multipleOf": 700},
        {"type": "number", "exclusiveMinimum": 0, "maximum": 2},
        {"type": "number", "minimum": 0.0004, "maximum": 2},
        {"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 3},
        {"anyOf": [{"not": {}}, {"type": "integer", "minimum": 9, "maximum": 3}, {"const": "x"}]},
        {"type": "array", "items": {"type": "boolean"}, "uniqueItems": True, "minItems": 1, "maxItems": 9},
        {
            "allOf": [
                {"properties": {"a": {"type": "number", "minimum": 3}}, "required": ["a"]},
                {"properties": {"a": {"type": ["integer", "null"], "maximum": 5}}},
            ]
        },
        {"allOf": [{"enum": [1, "x", 2]}, {"enum": ["x", 7]}]},
        {"allOf": [{"type": "array", "items": {"type": "integer"}, "minItems": 1}, {"items": True}]},
        {
            "allOf": [
                {"type": "array", "items": {"type": "integer"}, "minItems": 1},
                {"items": {"minimum": 7, "maximum": 8}},
            ]
        },
    ],
)
def test_the_tighter_bounds_hold(schema: Any) -> None:
    for seed in range(300):
        value = schema_value(schema, Random(seed))
        assert violations(value, schema) == []
        assert "minProperties" not in schema or len(value) >= 3


@pytest.mark.parametrize(
    "schema",
    [
        *[{"type": "object", name: {}} for name in UNBUILT],
        {"type": "integer", "minimum": 2, "maximum": 1},
        {"type": "number", "exclusiveMinimum": 1, "exclusiveMaximum": 1},
        {"type": "integer", "multipleOf": 5, "minimum": 6, "maximum": 9},
        {"type": "string", "minLength": 3, "maxLength": 2},
        {"type": "string", "format": "date", "maxLength": 4},
        {"type": "array", "minItems": 3, "maxItems": 2},
        {"type": "array", "items": {"type": "boolean"}, "uniqueItems": True, "minItems": 3},
        {"type": "object", "minProperties": 1, "additionalProperties": False},
        {"type": "object", "properties": {"a": {"not": {}}}, "required": ["a"]},
        {"allOf": [{"type": "string"}, {"type": "integer"}]},
        {"$ref": "#/$defs/missing"},
        {"$ref": "https://example.com/schema"},
    ],
)
def test_what_no_value_is_made_for_is_refused(schema: Any) -> None:
    with pytest.raises(SchemaError):
        schema_value(schema, Random(0))


@pytest.mark.parametrize(("value", "wrong"), [({}, 1), ({"a": 4}, 1), ({"a": 2, "b": 1}, 1), ({"a": 2}, 0)])
def test_the_checker_finds_faults(value: Any, wrong: int) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "integer", "maximum": 3}},
        "required": ["a"],
        "additionalProperties": False,
    }
    assert len(violations(value, schema)) == wrong
