"""The responses dialect asks the same: what the mock reads out of either body is alike."""

import json
from pathlib import Path

import pytest

from mock_server.chat_request import parse_chat
from mock_server.response_request import parse_response
from servebench.workload.responses_body import responses_body
from servebench.workload.scenario import load_scenario, scenario_names
from servebench.workload.sessions import join_id
from tests.workload.plans import plan

SESSIONS = str(Path(__file__).parents[1] / "drive" / "sessions.yaml")


@pytest.mark.parametrize("name", [name for name in scenario_names() if name != "long_context"] + [SESSIONS])
def test_texts_tools_and_limits_are_the_same(name: str) -> None:
    workload = plan(scenario=load_scenario(name), rate_rps=5.0, duration_s=4.0).build()
    ids = [join_id(arrival, call) for arrival in range(3) for call in range(workload.session_turns(arrival))]
    for id in ids[:12]:
        chat, made = parse_chat(workload.body(id)), parse_response(responses_body(workload.body(id)))
        assert [text for text in made.chat.contents if text] == [text for text in chat.contents if text]
        for field in (
            "model", "stream", "max_visible_tokens", "reasoning_effort", "tools", "tool_choice", "tool_named",
            "parallel_tool_calls", "cache_key", "last_role",
        ):  # fmt: skip
            assert getattr(made.chat, field) == getattr(chat, field), field
        assert made.store is False


def test_a_plan_in_the_other_dialect_has_another_hash_and_the_same_arrivals() -> None:
    chat, other = plan().build(), plan(api="responses").build()
    assert chat.schedule_hash != other.schedule_hash
    assert chat.intended_ns.tolist() == other.intended_ns.tolist()
    assert json.loads(other.body(0))["store"] is False
    assert bytes(other.body_parts(0)) == other.body(0)


def test_parts_named_tools_and_formats() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    function = {"name": "f", "parameters": {"type": "object"}}
    body = {
        "model": "m",
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "a"}]},
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "b"}]},
        ],
        "tools": [{"type": "function", "function": function}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {}}},
    }  # fmt: skip
    made = json.loads(responses_body(json.dumps(body).encode()))
    assert made["input"] == [
        {"role": "user", "content": [{"type": "input_text", "text": "a"}]},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "b"},
    ]
    assert made["tools"] == [{"type": "function", **function}]
    assert made["tool_choice"] == {"type": "function", "name": "f"}
    assert made["text"] == {"format": {"type": "json_schema", "name": "s", "schema": {}}}
