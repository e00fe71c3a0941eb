"""Prompts of sessions: they only grow at their end, sized to the token, as the API takes them."""

import json
import math

from hypothesis import given, settings
from hypothesis import strategies as st

from mock_server.chat_request import parse_chat
from servebench.engine.kv_cache import prompt_block_keys
from servebench.workload.history import sample
from servebench.workload.tools import TOOLS
from tests.workload.agent_sessions import AGENT, SHAPE, calls_of
from tests.workload.plans import plan


def content(body: bytes) -> bytes:
    chat = parse_chat(body)
    return chat.tools_json + "".join(chat.contents).encode()


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**40), st.sampled_from([4.0, 3.3, 1.0]), st.sampled_from([0, 192]))
def test_each_prompt_begins_with_the_one_before_and_bills_exactly(
    seed: int, ratio: float, preamble: int
) -> None:
    workload = plan(AGENT, seed=seed, bytes_per_token=ratio, preamble_tokens=preamble, rate_rps=0.5).build()
    for arrival in range(min(3, len(workload.intended_ns))):
        before = b""
        keys: tuple[int, ...] = ()
        for turn, (id, _) in enumerate(calls_of(workload, arrival)):
            spec, body = workload.spec(id), workload.body(id)
            assert (spec.session, spec.turn, spec.id) == (arrival, turn, id)
            text = content(body)
            assert text.startswith(before)
            assert preamble + math.ceil(len(text) / ratio) == spec.prompt_tokens
            new_keys = prompt_block_keys(
                text, preamble_tokens=preamble, bytes_per_token=ratio, block_tokens=64
            )
            assert new_keys[: len(keys)] == keys  # all whole blocks of the last prompt can be hit
            before, keys = text, new_keys


def test_messages_are_a_conversation_that_the_api_takes() -> None:
    workload = plan(AGENT, rate_rps=2.0).build()
    roles_seen = set()
    for arrival in range(10):
        ids = [id for id, _ in calls_of(workload, arrival)]
        keys = set()
        for id in ids:
            body = json.loads(workload.body(id))
            keys.add(body["prompt_cache_key"])
            open_call = None
            for message in body["messages"]:
                roles_seen.add(message["role"])
                assert (message["role"] == "tool") == (open_call is not None)
                if open_call is not None:
                    assert message["tool_call_id"] == open_call["id"]
                (open_call,) = message.get("tool_calls") or [None]
                if open_call is not None:
                    schema = TOOLS[open_call["function"]["name"]]["function"]["parameters"]
                    assert set(json.loads(open_call["function"]["arguments"])) == set(schema["required"])
            assert open_call is None
            turn, steps = workload.spec(id).turn, workload.spec(ids[-1]).history
            follows_tool = turn < len(steps) and steps[turn].role == "tool"
            assert body["tool_choice"] == ("required" if follows_tool else "none")
        assert len(keys) == 1
    assert roles_seen == {"system", "user", "assistant", "tool"}
    caches = {json.loads(workload.body(arrival))["prompt_cache_key"] for arrival in range(10)}
    assert len(caches) == 10


def test_sessions_end_before_the_context_window_does() -> None:
    long = {**AGENT, "session": {**SHAPE, "turns": 300, "calls_per_turn": 1, "message_tokens": 900}}
    workload = plan(long, context_length_tokens=20_000, rate_rps=1.0).build()
    for arrival in range(5):
        calls = calls_of(workload, arrival)
        assert 5 < len(calls) < 40
        for id, _ in calls:
            spec = workload.spec(id)
            assert spec.prompt_tokens + (spec.output_tokens or 0) <= 20_000


def test_sampled_arguments_fit_plain_schemas() -> None:
    schema = {
        "type": "object",
        "properties": {
            "a": {"enum": ["x", "y"]},
            "b": {"type": "array", "items": {"type": "integer"}, "minItems": 2},
            "c": {"type": "object", "properties": {"d": {"type": "boolean"}}},
            "e": {"type": "number"},
        },
        "required": ["a", "b", "c"],
    }
    assert sample(schema) == {"a": "x", "b": [1, 1], "c": {"d": True}}
    assert sample({}) == "text"
    odd = {"properties": {"a": True, "b": {"enum": {"x": 1}}}, "required": ["a", "b", "c"]}
    assert sample(odd) == {"a": "text", "b": "text"}
    assert sample({"type": "array", "items": True, "minItems": "x"}) == ["text"]
    assert sample({"type": "object", "properties": None}) == {}
