"""Shapes, key by key, against recorded xAI answers."""

import json
import uuid
from typing import Any

from servebench.catalog.load import load_catalog
from tests.data_dir import find_data
from tests.mock_server.raw_http import ask, chat_body, stream_chat, whole_chat

TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"location": {"type": "string"}},
            "required": ["location"],
        },
    },
}
# recorded grok-4.3 answer of 2026-07-28, which has service_tier; the recordings of February 2026 do not
WHOLE = json.loads(
    """{"id":"150c007d-f06f-945f-b763-621c061d0df9","object":"chat.completion","created":1785220810,"model":"grok-4.3",
 "choices":[{"index":0,"message":{"role":"assistant","content":"hello",
   "reasoning_content":"The user says","refusal":null},"finish_reason":"stop"}],
 "usage":{"prompt_tokens":197,"completion_tokens":1,"total_tokens":344,
   "prompt_tokens_details":{"text_tokens":197,"audio_tokens":0,"image_tokens":0,"cached_tokens":192},
   "completion_tokens_details":{"reasoning_tokens":146,"audio_tokens":0,"accepted_prediction_tokens":0,
     "rejected_prediction_tokens":0},
   "num_sources_used":0,"cost_in_usd_ticks":4121500},
 "system_fingerprint":"fp_eb3c003fc66c14ed","service_tier":"default"}"""
)
MODEL = json.loads(
    """{"id":"grok-4.5","aliases":["grok-4.5-latest"],"context_length":500000,"created":1782691200,"object":"model",
 "owned_by":"xai","prompt_text_token_price":20000,"cached_prompt_text_token_price":3000,
 "prompt_image_token_price":20000,"completion_text_token_price":60000,"prompt_text_token_price_long_context":40000,
 "cached_prompt_text_token_price_long_context":6000,"completion_text_token_price_long_context":120000,
 "long_context_threshold":200000}"""
)


def shape(value: Any) -> Any:
    """Keys in order and types; a list by its distinct elements' shapes."""
    if isinstance(value, dict):
        return [(key, shape(inner)) for key, inner in value.items()]
    if isinstance(value, list):
        return [shape(inner) for inner in value[:1]]
    return type(value).__name__


def without_service_tier(value: dict[str, Any]) -> dict[str, Any]:
    assert value["service_tier"] == "default"
    return {key: inner for key, inner in value.items() if key != "service_tier"}


def test_a_whole_answer_has_the_recorded_keys(mock_url: str) -> None:
    answer = whole_chat(mock_url, max_completion_tokens=3)
    assert shape(answer) == shape(WHOLE)
    assert list(answer) == list(WHOLE)
    assert answer["system_fingerprint"].startswith("fp_")
    assert len(answer["system_fingerprint"]) == len(WHOLE["system_fingerprint"])


def test_a_model_entry_has_the_recorded_keys_and_the_published_integers(mock_url: str) -> None:
    _, _, body = ask(mock_url, "/v1/models", method="GET")
    page = json.loads(body)
    assert list(page) == ["object", "data"]
    [entry] = page["data"]
    assert shape(entry) == shape(MODEL)
    assert list(entry) == list(MODEL)
    assert (entry["created"], entry["context_length"]) == (1776384000, 1000000)
    assert [value for key, value in entry.items() if "price" in key] == [
        12500, 2000, 12500, 25000, 25000, 4000, 50000,
    ]  # fmt: skip
    assert entry["long_context_threshold"] == 200000
    _, _, one = ask(mock_url, "/v1/models/grok-4.3", method="GET")
    assert json.loads(one) == entry


def recorded_chunks(name: str) -> list[Any]:
    return [json.loads(line) for line in find_data("xai", name).read_text().splitlines()]


def test_a_text_stream_has_the_recorded_chunks(fast_url: str) -> None:
    recorded = recorded_chunks("xai-text.chunks.txt")
    made = [without_service_tier(event) for event in stream_chat(fast_url, max_completion_tokens=4)]
    assert shape(made[0]) == shape(recorded[0])  # the role stands beside the first token
    assert shape(made[1]) == shape(recorded[1])
    assert [shape(event) for event in made[-3:]] == [shape(event) for event in recorded[-3:]]
    assert [list(event) for event in made[-3:]] == [list(event) for event in recorded[-3:]]
    assert not any("finish_reason" in event["choices"][0] for event in made[:-2])
    assert not any("usage" in event for event in made[:-1])
    assert made[-1]["choices"] == []
    assert len({event["id"] for event in made}) == 1


def test_a_tool_stream_has_the_recorded_chunks(fast_url: str) -> None:
    recorded = recorded_chunks("xai-tool-call.chunks.txt")
    made = [without_service_tier(event) for event in stream_chat(fast_url, tools=[TOOL])]
    assert shape(made[0]) == shape(recorded[0])
    assert [shape(event) for event in made[-3:]] == [shape(event) for event in recorded[-3:]]
    [call] = made[-3]["choices"][0]["delta"]["tool_calls"]
    assert list(call) == list(recorded[-3]["choices"][0]["delta"]["tool_calls"][0])
    assert call["index"] == 0
    assert list(json.loads(call["function"]["arguments"])) == ["location"]
    assert made[-2]["choices"] == [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]


def test_a_whole_tool_answer_has_the_recorded_keys(fast_url: str) -> None:
    recorded = json.loads(find_data("xai", "xai-tool-call.json").read_text())
    made = without_service_tier(whole_chat(fast_url, tools=[TOOL]))
    assert shape(made) == shape(recorded)
    assert list(made["choices"][0]["message"]) == list(recorded["choices"][0]["message"])
    assert made["choices"][0]["message"]["content"] == ""


def test_headers(mock_url: str) -> None:
    status, headers, body = ask(
        mock_url, "/v1/chat/completions", chat_body(max_completion_tokens=2, reasoning_effort="none")
    )
    assert status == 200
    assert headers["content-type"].startswith("application/json")
    assert headers["x-request-id"] == json.loads(body)["id"]
    for axis in ("requests", "tokens"):
        assert headers[f"x-ratelimit-limit-{axis}"] == headers[f"x-ratelimit-remaining-{axis}"]
    assert float(headers["x-metrics-ttft-ms"]) <= float(headers["x-metrics-e2e-ms"])
    status, headers, _ = ask(
        mock_url,
        "/v1/chat/completions",
        chat_body(max_completion_tokens=2, stream=True, reasoning_effort="none"),
    )
    assert headers["content-type"] == "text/event-stream"
    floor_ms = 1_000 * load_catalog().tier("grok-4.3").serving.ttft_floor_s
    assert float(headers["x-metrics-ttft-ms"]) > floor_ms
    assert "x-metrics-e2e-ms" not in headers


def test_every_answer_has_its_request_id_and_the_common_headers(mock_url: str) -> None:
    chat = "/v1/chat/completions"
    quick: dict[str, Any] = {"max_completion_tokens": 1, "reasoning_effort": "none"}
    response = {"model": "grok-4.3", "input": "x", "max_output_tokens": 1, "reasoning": {"effort": "none"}}
    asked: list[tuple[str, str, Any]] = [
        ("POST", chat, chat_body(**quick)),
        ("POST", chat, chat_body(stream=True, **quick)),
        ("POST", chat, b"{"),
        ("POST", "/v1/responses", response),
        ("POST", "/v1/responses", {**response, "stream": True}),
        ("POST", "/v1/tokenize-text", {"model": "grok-4.3", "text": "x"}),
        ("GET", "/v1/models", None),
        ("GET", "/v1/nothing", None),
        ("DELETE", chat, None),
    ]
    ids = set()
    for method, path, body in asked:
        _, headers, answer = ask(mock_url, path, body, method=method)
        request_id = headers["x-request-id"]
        assert str(uuid.UUID(request_id)) == request_id
        ids.add(request_id)
        version, trace, span, flags = headers["traceparent"].split("-")
        assert (version, len(trace), len(span), flags) == ("00", 32, 16, "01")
        assert headers["x-data-retention"] == "general"
        assert headers["x-zero-data-retention"] == "false"
        assert headers["access-control-allow-origin"] == headers["access-control-expose-headers"] == "*"
        assert headers["strict-transport-security"] == "max-age=31536000"
        if answer.startswith(b'{"id"'):
            assert json.loads(answer)["id"] == request_id
        limited = method == "POST" and body != b"{"
        assert ("x-ratelimit-limit-requests" in headers) == limited
        assert ("x-ratelimit-limit-tokens" in headers) == (limited and path != "/v1/tokenize-text")
        if answer.startswith(b"event: "):
            assert f'"id":"{request_id}"'.encode() in answer
    assert len(ids) == len(asked)


def test_usage_comes_only_where_asked_for(fast_url: str) -> None:
    silent = stream_chat(fast_url, max_completion_tokens=2, stream_options=None, reasoning_effort="none")
    assert not any("usage" in event for event in silent)
    assert silent[-1]["choices"][0]["finish_reason"] == "length"


def test_no_effort_no_reasoning(fast_url: str) -> None:
    made = stream_chat(fast_url, max_completion_tokens=3, reasoning_effort="none")
    assert made[0]["choices"][0]["delta"].keys() == {"content", "role"}
    assert len(made) == 3 + 2
    answer = whole_chat(fast_url, max_completion_tokens=3, reasoning_effort="none")
    assert "reasoning_content" not in answer["choices"][0]["message"]
    assert answer["usage"]["completion_tokens_details"]["reasoning_tokens"] == 0


def test_parallel_calls_come_each_whole_with_their_index(fast_url: str) -> None:
    second = {"type": "function", "function": {**TOOL["function"], "name": "forecast"}}  # type: ignore[dict-item]
    for attempt in range(60):
        events = stream_chat(
            fast_url, content=f"ask {attempt}", tools=[TOOL, second], reasoning_effort="none"
        )
        deltas = [event["choices"][0]["delta"] for event in events[:-2]]
        if len(deltas) == 2:
            assert [delta["tool_calls"][0]["index"] for delta in deltas] == [0, 1]
            assert {delta["tool_calls"][0]["function"]["name"] for delta in deltas} == {"weather", "forecast"}
            assert ["role" in delta for delta in deltas] == [True, False]
            break
    else:
        raise AssertionError("no answer had two calls")
    alone = stream_chat(
        fast_url,
        content=f"ask {attempt}",
        tools=[TOOL, second],
        reasoning_effort="none",
        parallel_tool_calls=False,
    )
    assert len(alone) == 3
