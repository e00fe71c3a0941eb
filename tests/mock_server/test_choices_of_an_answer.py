"""n, stop and deferred: several answers to one prompt, answers cut short, answers fetched later."""

import json
import time
from typing import Any

import pytest
from openai import OpenAI

from tests.mock_server.metrics_page import total
from tests.mock_server.raw_http import ask, chat_body, stream_chat, whole_chat

LONG = "a prompt of some length " * 60  # more than one block of 64 tokens


def texts(events: list[Any], index: int) -> str:
    deltas = [e["choices"][0]["delta"] for e in events if e["choices"] and e["choices"][0]["index"] == index]
    return "".join(delta.get("content", "") for delta in deltas)


def test_n_choices_differ_and_the_first_is_the_one_alone(fast_url: str) -> None:
    fields = {"content": LONG, "max_completion_tokens": 12}
    alone = whole_chat(fast_url, **fields)
    three = whole_chat(fast_url, n=3, **fields)
    assert [choice["index"] for choice in three["choices"]] == [0, 1, 2]
    assert three["choices"][0]["message"] == alone["choices"][0]["message"]
    assert len({choice["message"]["content"] for choice in three["choices"]}) == 3


def test_n_choices_bill_one_prompt_and_all_their_tokens(fast_url: str) -> None:
    usage = whole_chat(fast_url, content="billed once " * 200, n=4, max_completion_tokens=7)["usage"]
    thoughts = usage["completion_tokens_details"]["reasoning_tokens"]
    assert usage["completion_tokens"] == 28
    assert usage["total_tokens"] == usage["prompt_tokens"] + 28 + thoughts
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    fresh = usage["prompt_tokens"] - cached
    assert usage["cost_in_usd_ticks"] == fresh * 12_500 + cached * 2_000 + (28 + thoughts) * 25_000


def test_n_choices_prefill_their_prompt_once(fast_url: str) -> None:
    before = total(fast_url, "vllm:prefix_cache_hits_total")
    usage = whole_chat(fast_url, content="never seen before " * 300, n=3, reasoning_effort="none")["usage"]
    hits = total(fast_url, "vllm:prefix_cache_hits_total") - before
    whole_blocks = usage["prompt_tokens"] // 64 * 64
    assert hits == usage["prompt_tokens_details"]["cached_tokens"] + 2 * whole_blocks


def test_n_choices_stream_interleaved_with_one_usage_and_one_end(fast_url: str) -> None:
    fields = {"content": LONG, "n": 3, "max_completion_tokens": 9}
    events = stream_chat(fast_url, **fields)
    whole = whole_chat(fast_url, **fields)
    for index, choice in enumerate(whole["choices"]):
        assert texts(events, index) == choice["message"]["content"]
        mine = [e["choices"][0] for e in events if e["choices"] and e["choices"][0]["index"] == index]
        assert ["role" in choice["delta"] for choice in mine].index(True) == 0
        assert sum("role" in choice["delta"] for choice in mine) == 1
        assert [choice.get("finish_reason") for choice in mine if "finish_reason" in choice] == ["length"]
    assert sum("usage" in event for event in events) == 1
    assert events[-1]["usage"]["completion_tokens"] == 27


def test_the_openai_client_reads_several_choices(client: OpenAI) -> None:
    made = client.chat.completions.create(
        model="grok-4.3",
        messages=[{"role": "user", "content": "three ways"}],
        n=3,
        max_completion_tokens=5,
        reasoning_effort="none",
    )
    assert [len((choice.message.content or "").split()) for choice in made.choices] == [5, 5, 5]
    assert made.usage is not None
    assert made.usage.completion_tokens == 15


@pytest.mark.parametrize("stream", [False, True])
def test_stop_ends_the_text_before_the_sequence(fast_url: str, stream: bool) -> None:
    fields: dict[str, Any] = {"max_completion_tokens": 40, "reasoning_effort": "none", "content": "go on"}
    whole = whole_chat(fast_url, **fields)["choices"][0]["message"]["content"]
    words = whole.split()
    stop = f"{words[10]} {words[11]}"
    expected = whole[: whole.index(stop)]
    if stream:
        events = stream_chat(fast_url, stop=[stop, "no such thing"], **fields)
        text, finish, usage = texts(events, 0), events[-2]["choices"][0]["finish_reason"], events[-1]["usage"]
    else:
        made = whole_chat(fast_url, stop=stop, **fields)
        text, finish, usage = (
            made["choices"][0]["message"]["content"],
            made["choices"][0]["finish_reason"],
            made["usage"],
        )
    assert (text, finish) == (expected, "stop")
    assert usage["completion_tokens"] == len(expected.split()) + 2  # the sequence was generated


def test_stop_at_the_very_start_leaves_nothing_and_still_ends(fast_url: str) -> None:
    fields: dict[str, Any] = {"max_completion_tokens": 5, "reasoning_effort": "none", "content": "start"}
    first = whole_chat(fast_url, **fields)["choices"][0]["message"]["content"][0]
    made = whole_chat(fast_url, stop=[first], **fields)
    assert made["choices"][0]["message"]["content"] == ""
    assert made["usage"]["completion_tokens"] == 1


def test_a_deferred_completion_is_fetched_once_by_its_key(mock_url: str) -> None:
    body = chat_body(deferred=True, max_completion_tokens=30, reasoning_effort="none")
    status, headers, answer = ask(mock_url, "/v1/chat/completions", body)
    assert status == 200
    request_id = json.loads(answer)["request_id"]
    assert headers["x-request-id"] == request_id
    path = f"/v1/chat/deferred-completion/{request_id}"
    assert ask(mock_url, path, method="GET", headers={"Authorization": "Bearer other"})[0] == 404
    status, _, answer = ask(mock_url, path, method="GET")
    assert (status, answer) == (202, b"")
    deadline = time.monotonic() + 20
    while status == 202 and time.monotonic() < deadline:
        time.sleep(0.05)
        status, _, answer = ask(mock_url, path, method="GET")
    assert status == 200
    made = json.loads(answer)
    plain = whole_chat(mock_url, max_completion_tokens=30, reasoning_effort="none")
    assert made["id"] == request_id
    assert made["object"] == "chat.completion"
    assert made["choices"] == plain["choices"]
    assert ask(mock_url, path, method="GET")[0] == 404


def test_a_longest_prompt_is_served(fast_url: str) -> None:
    body = chat_body("four" * (1_000_000 - 192), max_completion_tokens=5)
    status, _, answer = ask(fast_url, "/v1/chat/completions", body)
    assert status == 200
    usage = json.loads(answer)["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (1_000_000, 1)
