"""Whatever JSON comes: it is admitted or refused, and nothing else."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mock_server.admission import admit
from mock_server.model import Model, build_model
from mock_server.refusals import RefusalError
from servebench.catalog.load import load_catalog
from tests.mock_server.raw_http import chat_body

MODELS: dict[str, Model] = {
    "grok-4.3": build_model(load_catalog(), load_catalog().tier("grok-4.3"), replicas=1, seed=0)
}
anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
FIELDS = [
    "model",
    "messages",
    "stream",
    "stream_options",
    "max_completion_tokens",
    "max_tokens",
    "n",
    "seed",
    "stop",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "reasoning_effort",
    "service_tier",
    "prompt_cache_key",
    "deferred",
    "presence_penalty",
]
KEYWORDS = [
    "type",
    "properties",
    "required",
    "items",
    "prefixItems",
    "enum",
    "const",
    "anyOf",
    "oneOf",
    "allOf",
    "$ref",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minLength",
    "maxLength",
    "pattern",
    "format",
]
schemas = st.recursive(
    st.dictionaries(
        st.sampled_from(KEYWORDS),
        st.one_of(
            anything, st.sampled_from(["object", "array", "string", "number", "integer", "#", "#/properties"])
        ),
        max_size=4,
    ),
    lambda inner: st.dictionaries(
        st.sampled_from(KEYWORDS),
        st.one_of(
            inner, st.lists(inner, max_size=3), st.dictionaries(st.text("ab", max_size=2), inner, max_size=3)
        ),
        max_size=4,
    ),
    max_leaves=6,
)


def settle(body: Any) -> bool:
    """True: admitted."""
    try:
        admit(json.dumps(body).encode(), MODELS, seed=0)
    except RefusalError as refusal:
        found = refusal
    else:
        return True
    assert found.status in (400, 404, 422)
    assert found.body
    return False


@given(
    body=st.one_of(
        anything,
        st.dictionaries(st.sampled_from(FIELDS), anything, max_size=5).map(lambda f: {**chat_body(), **f}),
    )
)
def test_any_json(body: Any) -> None:
    settle(body)


@given(raw=st.binary(max_size=200))
def test_any_bytes(raw: bytes) -> None:
    with pytest.raises(RefusalError):
        admit(raw, MODELS, seed=0)


@given(schema=schemas)
def test_any_schema(schema: Any) -> None:
    settle(chat_body(response_format={"type": "json_schema", "json_schema": {"schema": schema}}))
    settle(chat_body(tools=[{"type": "function", "function": {"name": "f", "parameters": schema}}]))


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "minItems": 10**9},
        {"type": "string", "minLength": 10**9},
        {
            "type": "array",
            "minItems": 200,
            "items": {"type": "array", "minItems": 200, "items": {"type": "array", "minItems": 50}},
        },
        {"type": "integer", "minimum": "three"},
    ],
)
def test_a_schema_that_no_value_of_sane_size_satisfies_is_refused(schema: Any) -> None:
    assert not settle(chat_body(response_format={"type": "json_schema", "json_schema": {"schema": schema}}))


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
        {"type": "object", "properties": {f"p{i}": {"$ref": "#"} for i in range(30)}},
        {"allOf": [{"$ref": "#"}]},
        {"anyOf": [{"$ref": "#"}]},
    ],
)
def test_a_schema_that_refers_to_itself_ends(schema: Any) -> None:
    settle(chat_body(response_format={"type": "json_schema", "json_schema": {"schema": schema}}))


def test_a_schema_that_could_grow_without_end_gets_a_value() -> None:
    wide = {"type": "object", "properties": {f"p{i}": {"$ref": "#"} for i in range(30)}}
    node = {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}}
    for schema in (wide, {**node, "required": ["next"]}):
        assert settle(chat_body(response_format={"type": "json_schema", "json_schema": {"schema": schema}}))
