"""Tool calls whose arguments do not parse are told apart from those that an agent could carry out."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servebench.meter.responses import ResponsesReader
from servebench.meter.tool_arguments import ToolArguments
from tests.meter.chunks import DONE, chunk, event, read

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def call(index: int, arguments: str) -> dict[str, Any]:
    return {"index": index, "id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}


@given(st.dictionaries(st.text(max_size=5), VALUES, max_size=4), st.lists(st.integers(0, 60), max_size=4))
def test_arguments_parse_however_they_are_cut(arguments: dict[str, Any], cuts: list[int]) -> None:
    text = json.dumps(arguments)
    edges = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    pieces = [text[a:b] for a, b in pairwise(edges)]
    reader = read([*(event(chunk({"tool_calls": [call(0, piece)]})) for piece in pieces), DONE])
    assert (reader.tool_calls, reader.broken_tool_calls) == (1, 0)
    broken = read([event(chunk({"tool_calls": [call(0, text[:-1])]})), DONE])
    assert (broken.tool_calls, broken.broken_tool_calls) == (1, 1)


@pytest.mark.parametrize(
    ("texts", "broken"),
    [(['{"a": 1}', "{}"], 0), (["", "  "], 0), (["[1]", '"x"'], 2), (["{", "{}"], 1), (["nonsense"], 1)],
)
def test_each_call_is_judged_by_itself(texts: list[str], broken: int) -> None:
    reader = read([event(chunk({"tool_calls": [call(k, t) for k, t in enumerate(texts)]})), DONE])
    assert (reader.tool_calls, reader.broken_tool_calls) == (len(texts), broken)


def test_a_whole_text_stands_in_place_of_its_pieces() -> None:
    arguments = ToolArguments()
    arguments.add(0, '{"a":')
    assert arguments.broken == 1
    arguments.put(0, '{"a":1}')
    arguments.add(1, "{")
    assert arguments.broken == 1


def test_the_responses_dialect_has_them_whole_at_the_items_end() -> None:
    reader = ResponsesReader()
    reader.begin(200, "text/event-stream", framed=True)
    rows = [
        {"type": "response.function_call_arguments.delta", "delta": '{"a"', "output_index": 0},
        {"type": "response.output_item.done", "output_index": 0,
         "item": {"type": "function_call", "name": "f", "arguments": '{"a":1}'}},
        {"type": "response.output_item.done", "output_index": 1,
         "item": {"type": "function_call", "name": "f", "arguments": '{"a":'}},
    ]  # fmt: skip
    for k, row in enumerate(rows):
        reader.feed(f"data: {json.dumps(row)}\n\n".encode(), 1000 * k)
    assert (reader.tool_calls, reader.broken_tool_calls) == (2, 1)
