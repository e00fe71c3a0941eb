"""/v1/responses: recorded shapes, the official client, conversations, storage."""

import json
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types.responses import ResponseCompletedEvent, ResponseFunctionToolCall
from pydantic import BaseModel

from tests.data_dir import find_data
from tests.mock_server.raw_http import ask
from tests.mock_server.recorded_response import EVENTS, FINISHED
from tests.mock_server.test_openai_client import Weather
from tests.mock_server.test_wire_shapes import shape

PATH = "/v1/responses"
WEATHER: Any = {
    "type": "function",
    "name": "weather",
    "parameters": Weather.model_json_schema(),
    "strict": True,
}


def respond(url: str, **fields: Any) -> Any:
    status, _, body = ask(url, PATH, {"model": "grok-4.3", "input": "hello", **fields})
    assert status == 200, body
    return json.loads(body)


def stream_events(url: str, **fields: Any) -> list[Any]:
    status, headers, body = ask(url, PATH, {"model": "grok-4.3", "input": "hello", "stream": True, **fields})
    assert status == 200, body
    assert headers["content-type"] == "text/event-stream"
    events = []
    for event in body.decode().removesuffix("\n\n").split("\n\n"):
        name, data = event.split("\n")
        events.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {events[-1]['type']}"
    return events


def once_each(events: list[Any]) -> list[Any]:
    """Of a run of events of one type the first."""
    return [event for i, event in enumerate(events) if i == 0 or event["type"] != events[i - 1]["type"]]


def test_a_stream_has_the_recorded_events_in_their_order_with_their_fields(fast_url: str) -> None:
    made = stream_events(fast_url, reasoning={"effort": None})
    assert [event["sequence_number"] for event in made] == list(range(len(made)))
    recorded = once_each(EVENTS)
    assert [event["type"] for event in once_each(made)] == [event["type"] for event in recorded]
    for ours, theirs in zip(once_each(made), recorded, strict=True):
        # unset here, 16 in the recording
        for event in (ours, theirs):
            event.get("response", {}).pop("max_output_tokens", None)
        assert shape(ours) == shape(theirs), ours["type"]
        assert list(ours) == list(theirs)
        if "response" in ours:
            assert list(ours["response"]) == list(theirs["response"])
    for key in ("temperature", "top_p", "tools", "tool_choice", "text", "background", "truncation"):
        assert made[0]["response"][key] == FINISHED[key]


def test_an_older_recording_has_the_same_events(fast_url: str) -> None:
    lines = find_data("xai", "responses-text-streaming.chunks.txt").read_text().splitlines()
    recorded = [json.loads(line) for line in lines]
    made = stream_events(fast_url)
    assert [event["type"] for event in once_each(made)] == [event["type"] for event in once_each(recorded)]


def test_deltas_make_up_the_text_and_usage_has_the_reasoning_in_the_output(fast_url: str) -> None:
    made = stream_events(fast_url, max_output_tokens=9)
    final = made[-1]["response"]
    thoughts = [e["delta"] for e in made if e["type"] == "response.reasoning_summary_text.delta"]
    words = [e["delta"] for e in made if e["type"] == "response.output_text.delta"]
    reasoning, message = final["output"]
    assert "".join(thoughts) == reasoning["summary"][0]["text"]
    assert "".join(words) == message["content"][0]["text"]
    usage = final["usage"]
    assert len(words) == 9  # visible only
    assert usage["output_tokens_details"]["reasoning_tokens"] == len(thoughts)
    assert usage["output_tokens"] == len(thoughts) + 9
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    cached = usage["input_tokens_details"]["cached_tokens"]
    fresh = usage["input_tokens"] - cached
    ticks = fresh * 12_500 + cached * 2_000 + usage["output_tokens"] * 25_000
    assert usage["cost_in_usd_ticks"] == ticks
    assert (made[-1]["type"], final["status"]) == ("response.incomplete", "incomplete")
    assert final["incomplete_details"] == {"reason": "max_output_tokens"}


def test_a_whole_response_says_what_the_stream_says(fast_url: str) -> None:
    whole = respond(fast_url, input="the same")
    streamed = stream_events(fast_url, input="the same")[-1]["response"]
    assert shape(whole) == shape(streamed)
    assert [item.get("content", item.get("summary"))[0]["text"] for item in whole["output"]] == [
        item.get("content", item.get("summary"))[0]["text"] for item in streamed["output"]
    ]
    assert (whole["temperature"], whole["top_p"]) == (0.7, 0.95)
    assert whole["usage"]["output_tokens"] == streamed["usage"]["output_tokens"]
    assert whole["completed_at"] >= whole["created_at"]


def test_priority_is_billed_twice_and_a_long_prompt_at_the_long_rates(fast_url: str) -> None:
    fields = {"reasoning": {"effort": "none"}, "max_output_tokens": 3}
    twice = respond(fast_url, input="soon", service_tier="priority", **fields)
    assert twice["service_tier"] == "priority"
    usage = twice["usage"]
    cached = usage["input_tokens_details"]["cached_tokens"]
    fresh = usage["input_tokens"] - cached
    assert usage["cost_in_usd_ticks"] == 2 * (fresh * 12_500 + cached * 2_000 + 3 * 25_000)
    usage = respond(fast_url, input="long" * 200_000, **fields)["usage"]
    cached = usage["input_tokens_details"]["cached_tokens"]
    fresh = usage["input_tokens"] - cached
    assert usage["cost_in_usd_ticks"] == fresh * 25_000 + cached * 4_000 + 3 * 50_000


def test_the_openai_client_streams_a_response(fast_client: OpenAI) -> None:
    with fast_client.responses.create(
        model="grok-4.3", input="hello", stream=True, max_output_tokens=None
    ) as stream:
        events = list(stream)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert {type(event).__name__ for event in events} == {
        "ResponseCreatedEvent",
        "ResponseInProgressEvent",
        "ResponseOutputItemAddedEvent",
        "ResponseReasoningSummaryPartAddedEvent",
        "ResponseReasoningSummaryTextDeltaEvent",
        "ResponseReasoningSummaryTextDoneEvent",
        "ResponseReasoningSummaryPartDoneEvent",
        "ResponseOutputItemDoneEvent",
        "ResponseContentPartAddedEvent",
        "ResponseTextDeltaEvent",
        "ResponseTextDoneEvent",
        "ResponseContentPartDoneEvent",
        "ResponseCompletedEvent",
    }
    last = events[-1]
    assert isinstance(last, ResponseCompletedEvent)
    deltas = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert last.response.output_text == deltas
    assert last.response.usage is not None
    assert last.response.usage.output_tokens_details.reasoning_tokens > 0


def test_the_openai_client_accumulates_a_response(fast_client: OpenAI) -> None:
    with fast_client.responses.stream(
        model="grok-4.3", input="hello", reasoning={"effort": "none"}
    ) as stream:
        for _ in stream:
            pass
        final = stream.get_final_response()
    assert final.status == "completed"
    assert final.output_text


@pytest.mark.parametrize("stream", [False, True])
def test_the_openai_client_gets_function_calls_whose_arguments_validate(
    fast_client: OpenAI, stream: bool
) -> None:
    fields: Any = {
        "model": "grok-4.3",
        "input": "weather?",
        "tools": [WEATHER],
        "reasoning": {"effort": "none"},
    }
    if stream:
        events = list(fast_client.responses.create(stream=True, **fields))
        last = events[-1]
        assert isinstance(last, ResponseCompletedEvent)
        first = last.response
        assert [event.type for event in events] == [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.function_call_arguments.delta",
            "response.function_call_arguments.done",
            "response.output_item.done",
            "response.completed",
        ]
    else:
        first = fast_client.responses.create(**fields)
    [call] = first.output
    assert isinstance(call, ResponseFunctionToolCall)
    Weather.model_validate_json(call.arguments, strict=True)
    output: Any = [{"type": "function_call_output", "call_id": call.call_id, "output": "18 C"}]
    again = fast_client.responses.create(**{**fields, "input": output, "previous_response_id": first.id})
    assert again.output_text  # a tool's result is answered in text
    assert again.previous_response_id == first.id


class Place(BaseModel):
    city: str
    population: int


def test_the_openai_client_parses_structured_output(fast_client: OpenAI) -> None:
    made = fast_client.responses.parse(model="grok-4.3", input="a place", text_format=Place)
    assert isinstance(made.output_parsed, Place)


def test_a_conversation_carries_its_text_and_finds_it_in_the_cache(fast_url: str) -> None:
    first = respond(fast_url, input="a long question " * 100, reasoning={"effort": "none"})
    text = first["output"][0]["content"][0]["text"]
    second = respond(
        fast_url, input="and more", previous_response_id=first["id"], reasoning={"effort": "none"}
    )
    size = len("a long question " * 100) + len(text) + len("and more")
    assert second["usage"]["input_tokens"] == 192 - (-size // 4)
    cached = second["usage"]["input_tokens_details"]["cached_tokens"]
    assert cached >= first["usage"]["input_tokens"] // 64 * 64
    by_hand = respond(
        fast_url,
        input=[
            {"role": "user", "content": "a long question " * 100},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]},
            {"role": "user", "content": [{"type": "input_text", "text": "and more"}]},
        ],
        reasoning={"effort": "none"},
    )
    assert by_hand["usage"]["input_tokens"] == second["usage"]["input_tokens"]
    assert by_hand["output"][0]["content"] == second["output"][0]["content"]


def test_stored_responses_are_read_and_deleted_by_their_key(fast_url: str, fast_client: OpenAI) -> None:
    made = fast_client.responses.create(model="grok-4.3", input="keep", reasoning={"effort": "none"})
    assert fast_client.responses.retrieve(made.id).output_text == made.output_text
    other = {"Authorization": "Bearer other"}
    assert ask(fast_url, f"{PATH}/{made.id}", method="GET", headers=other)[0] == 404
    fast_client.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        fast_client.responses.retrieve(made.id)
    with pytest.raises(openai.NotFoundError):
        fast_client.responses.create(model="grok-4.3", input="on", previous_response_id=made.id)
    gone = fast_client.responses.create(
        model="grok-4.3", input="drop", store=False, reasoning={"effort": "none"}
    )
    with pytest.raises(openai.NotFoundError):
        fast_client.responses.retrieve(gone.id)


@pytest.mark.parametrize(
    ("fields", "code", "error"),
    [
        ({"model": "grok-99"}, 400, "Model not found: grok-99"),
        (
            {"input": 7},
            422,
            "Failed to deserialize the JSON body into the target type: data did not match any variant of "
            "untagged enum ModelInput",
        ),
        ({"input": ["x"]}, 422, "ModelInput"),
        ({"input": [{"role": "king", "content": "x"}]}, 422, "unknown variant `king`"),
        ({"input": []}, 400, "Input cannot be empty."),
        ({"input": [{"type": "item_reference", "id": "x"}]}, 400, "item_reference"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, 400, "text parts only"),
        ({"background": True}, 400, "background"),
        ({"max_output_tokens": 0}, 400, "at least 1"),
        ({"reasoning": {"effort": "maximal"}}, 400, "maximal is not one of none, low"),
        ({"previous_response_id": "x"}, 404, "Response with id=x not found"),
        ({"tools": [{"type": "function"}]}, 422, "tools[0]"),
        ({"text": {"format": {"type": "xml"}}}, 422, "text.format"),
        ({"store": "yes"}, 422, "store: invalid type: string, expected a boolean"),
    ],
)
def test_refusals(mock_url: str, fields: Any, code: int, error: str) -> None:
    status, headers, body = ask(mock_url, PATH, {"model": "grok-4.3", "input": "x", **fields})
    refusal = json.loads(body)
    assert status == code, body
    assert headers["content-type"].startswith("application/json")
    assert error in refusal["error"]
    assert list(refusal) == (["error"] if code == 422 else ["code", "error"])  # as recorded
