"""Usage out of both dialects' JSON: the recorded bodies, whose bill the server printed beside the counts."""

import datetime
import json
from pathlib import Path
from typing import Any

import pytest

from servebench.catalog.load import load_catalog
from servebench.cost.bill import BillError, Usage, bill
from servebench.cost.usage import billed_ticks, usage_from_chat, usage_from_responses
from tests.data_dir import find_data

CHAT: dict[str, Any] = {
    "usage": {
        "prompt_tokens": 197,
        "completion_tokens": 1,
        "total_tokens": 344,
        "prompt_tokens_details": {"text_tokens": 197, "cached_tokens": 192},
        "completion_tokens_details": {"reasoning_tokens": 146},
        "cost_in_usd_ticks": 4121500,
    },
    "service_tier": "default",
}


def chunks(path: Path) -> list[dict[str, Any]]:
    """The events of a recorded stream, one JSON object a line."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [event for line in lines if line.startswith("{") and (event := json.loads(line))]


def test_the_recorded_chat_completion() -> None:
    assert usage_from_chat(CHAT) == Usage(197, 192, 1, 146, {}, "default")
    assert billed_ticks(CHAT) == 4121500


def test_openais_completion_tokens_include_reasoning() -> None:
    """total_tokens tells the dialects apart: 197 + 147 = 344 here."""
    body = {"usage": CHAT["usage"] | {"completion_tokens": 147}}
    assert usage_from_chat(body) == Usage(197, 192, 1, 146)


def test_without_details_nothing_was_cached_or_thought() -> None:
    body = {"usage": {"prompt_tokens": 5, "completion_tokens": 7, "prompt_tokens_details": None}}
    assert usage_from_chat(body) == Usage(5, 0, 7, 0)
    assert billed_ticks(body) is None


@pytest.mark.parametrize("body", [{}, {"usage": None}, {"choices": []}])
def test_a_chunk_without_usage(body: dict[str, Any]) -> None:
    assert usage_from_chat(body) is None
    assert usage_from_responses(body) is None
    assert billed_ticks(body) is None


def test_responses_output_includes_reasoning_and_tools_have_names() -> None:
    usage = {
        "input_tokens": 5467,
        "input_tokens_details": {"cached_tokens": 1152},
        "output_tokens": 593,
        "output_tokens_details": {"reasoning_tokens": 500},
        "cost_in_usd_ticks": 177_640_000,
        "server_side_tool_usage_details": {"web_search_calls": 1, "x_search_calls": 0},
    }
    response = {"usage": usage, "service_tier": "default"}
    expected = Usage(5467, 1152, 93, 500, {"web_search": 1}, "default")
    assert usage_from_responses(response) == expected
    assert usage_from_responses({"type": "response.completed", "response": response}) == expected
    assert bill(expected, load_catalog().price("grok-4.6")).total_ticks == billed_ticks(response)


@pytest.mark.parametrize(
    ("usage", "sentence"),
    [
        ({"completion_tokens": 1}, "prompt_tokens = None"),
        ({"prompt_tokens": "5", "completion_tokens": 1}, "prompt_tokens = '5'"),
        ({"prompt_tokens": 5.5, "completion_tokens": 1}, "prompt_tokens = 5.5"),
        ({"prompt_tokens": True, "completion_tokens": 1}, "prompt_tokens = True"),
        (
            {"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 6}},
            "6 cached of 5 prompt",
        ),
    ],
)
def test_counts_that_are_none(usage: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BillError, match=sentence):
        usage_from_chat({"usage": usage})


def test_more_reasoning_than_output_is_refused() -> None:
    usage = {"input_tokens": 1, "output_tokens": 2, "output_tokens_details": {"reasoning_tokens": 3}}
    with pytest.raises(BillError, match="3 reasoning of 2 output"):
        usage_from_responses({"usage": usage})


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("xai-text.chunks.txt", Usage(12, 11, 1, 290)),
        ("xai-tool-call.chunks.txt", Usage(291, 290, 26, 196)),
    ],
)
def test_recorded_streams_bill_as_the_server_did(name: str, expected: Usage) -> None:
    last = chunks(find_data("xai", name))[-1]
    usage = usage_from_chat(last)
    assert usage == expected
    price = load_catalog().price(last["model"], datetime.date(2026, 2, 11))
    assert bill(usage, price).total_ticks == billed_ticks(last)


def test_the_recorded_tool_call_bills_as_the_server_did() -> None:
    body = json.loads(find_data("xai", "xai-tool-call.json").read_text(encoding="utf-8"))
    usage = usage_from_chat(body)
    assert usage is not None
    price = load_catalog().price(body["model"], datetime.date(2026, 2, 11))
    assert bill(usage, price).total_ticks == billed_ticks(body) == 1_399_000


def test_a_recorded_responses_stream_carries_usage_at_its_end_only() -> None:
    events = chunks(find_data("xai", "responses-text-streaming.chunks.txt"))
    found = [usage for event in events if (usage := usage_from_responses(event)) is not None]
    last = events[-1]["response"]["usage"]
    assert len(found) == 1
    assert found[0].completion_tokens + found[0].reasoning_tokens == last["output_tokens"]
    assert found[0].prompt_tokens == last["input_tokens"]
