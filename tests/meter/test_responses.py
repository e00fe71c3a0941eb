"""The responses API as it was recorded, and its other endings."""

import json
from typing import Any

import pytest

from servebench.cost.usage import billed_ticks, usage_from_responses
from servebench.meter.ending import Ending
from servebench.meter.record import Outcome
from servebench.meter.responses import ResponsesReader
from tests.data_dir import find_data

USAGE = {
    "input_tokens": 197,
    "input_tokens_details": {"cached_tokens": 192},
    "output_tokens": 199,
    "output_tokens_details": {"reasoning_tokens": 198},
    "total_tokens": 396,
    "cost_in_usd_ticks": 5_421_500,
    "server_side_tool_usage_details": {"web_search_calls": 2, "x_search_calls": 0},
}


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def read(*events: bytes, ending: Ending = Ending.COMPLETE) -> tuple[ResponsesReader, Outcome, str]:
    reader = ResponsesReader()
    reader.begin(200, "text/event-stream", framed=True)
    for number, piece in enumerate(events):
        reader.feed(piece, number * 1_000_000)
    return reader, *reader.judge(ending)


def completed(**fields: Any) -> bytes:
    return event("response.completed", response={"status": "completed", "usage": USAGE, **fields})


def test_the_recorded_stream() -> None:
    lines = find_data("xai", "responses-text-streaming.chunks.txt").read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in lines if line.startswith("{")]
    reader, outcome, error = read(*(event(one["type"], **one) for one in events))
    assert (outcome, error) == (Outcome.SUCCESS, "")
    deltas = [one for one in events if one["type"].endswith("text.delta")]
    thoughts = [one for one in deltas if "reasoning" in one["type"]]
    assert (len(reader.times), reader.reasoning_chunks) == (len(deltas), len(thoughts))
    assert reader.first_visible_ns == reader.times[len(thoughts)]
    facts, wanted = reader.usage_facts(), usage_from_responses(events[-1])
    assert wanted is not None
    assert facts["prompt_tokens"] == wanted.prompt_tokens
    assert facts["completion_tokens"] == wanted.completion_tokens
    assert facts["reasoning_tokens"] == wanted.reasoning_tokens
    assert facts["billed_ticks"] == billed_ticks(events[-1])


def test_reasoning_stands_inside_output_tokens_and_tools_are_counted() -> None:
    reader, outcome, _ = read(event("response.output_text.delta", delta="hello"), completed())
    facts = reader.usage_facts()
    assert (facts["completion_tokens"], facts["reasoning_tokens"]) == (1, 198)
    assert facts["server_tools"] == {"web_search_calls": 2}
    assert (outcome, reader.finish_reason) == (Outcome.SUCCESS, "stop")


def test_a_whole_call_is_one_visible_chunk_and_streamed_arguments_are_not_counted_twice() -> None:
    item = {"type": "function_call", "name": "weather", "arguments": "{}"}
    reader, outcome, _ = read(event("response.output_item.done", item=item, output_index=1), completed())
    assert (outcome, reader.tool_calls, len(reader.times)) == (Outcome.SUCCESS, 1, 1)
    assert reader.finish_reason == "tool_calls"
    reader, _, _ = read(
        event("response.function_call_arguments.delta", delta='{"a"', output_index=1),
        event("response.function_call_arguments.delta", delta=":1}", output_index=1),
        event("response.output_item.done", item=item, output_index=1),
        completed(),
    )
    assert (reader.tool_calls, len(reader.times)) == (1, 2)


def incomplete(reason: str) -> dict[str, Any]:
    return {"status": "incomplete", "incomplete_details": {"reason": reason}}


@pytest.mark.parametrize(
    ("last", "outcome", "finish"),
    [
        (incomplete("max_output_tokens"), Outcome.SUCCESS, "length"),
        (incomplete("content_filter"), Outcome.SUCCESS, "content_filter"),
        ({"status": "failed", "error": {"message": "it broke"}}, Outcome.STREAM_ERROR, None),
    ],
)
def test_endings(last: dict[str, Any], outcome: Outcome, finish: str | None) -> None:
    kind = f"response.{last['status']}"
    reader, found, error = read(
        event("response.output_text.delta", delta="x"), event(kind, response={"usage": USAGE, **last})
    )
    assert (found, reader.finish_reason) == (outcome, finish)
    assert error == ("it broke" if outcome is Outcome.STREAM_ERROR else "")
    assert reader.usage_facts()["usage_source"] == "usage"


def test_an_error_event_a_cut_and_another_dialect() -> None:
    delta = event("response.output_text.delta", delta="x")
    assert read(delta, event("error", code="x", message="no more"))[1:] == (Outcome.STREAM_ERROR, "no more")
    assert read(delta, ending=Ending.CUT)[1] is Outcome.STREAM_CUT
    assert read(delta)[1] is Outcome.NO_FINISH
    assert read(b'data: {"choices":[]}\n\n')[1] is Outcome.BAD_RESPONSE
    _, outcome, _ = read(delta, completed(), b"data: [DONE]\n\n", ending=Ending.CUT)
    assert outcome is Outcome.SUCCESS, "completed is the end, whatever follows"


def test_a_whole_response() -> None:
    reader = ResponsesReader()
    reader.begin(200, "application/json", framed=False)
    output = [{"type": "reasoning"}, {"type": "message", "content": []}]
    reader.feed(
        json.dumps({"status": "completed", "output": output, "usage": USAGE, "error": None}).encode(), 5
    )
    assert reader.judge(Ending.COMPLETE) == (Outcome.SUCCESS, "")
    assert (list(reader.times), reader.usage_facts()["completion_tokens"]) == ([5], 1)
