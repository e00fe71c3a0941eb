"""How many tokens, of which kind, and the same ones again: laws of the answers and of their bills."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mock_server.admission import Admitted, admit
from mock_server.billing import billed_ticks
from mock_server.model import Model, build_model
from mock_server.refusals import RefusalError
from servebench.catalog.load import load_catalog
from tests.mock_server.fast_mock import fast_mock, fast_tier
from tests.mock_server.metrics_page import total
from tests.mock_server.raw_http import ask, chat_body, stream_chat, whole_chat

TIER = load_catalog().tier("grok-4.3")
MODELS: dict[str, Model] = {"grok-4.3": build_model(load_catalog(), TIER, replicas=1, seed=0)}
TOOLS = [
    {
        "type": "function",
        "function": {"name": name, "parameters": {"type": "object", "properties": {"x": {"type": "string"}}}},
    }
    for name in ("first", "second")
]


def admitted(seed: int = 0, **fields: Any) -> Admitted:
    return admit(json.dumps(chat_body(**fields)).encode(), MODELS, seed=seed)


@given(
    contents=st.lists(st.text(max_size=200), min_size=1, max_size=4),
    tools=st.sampled_from([[], TOOLS[:1], TOOLS]),
)
def test_prompt_tokens_are_bytes_of_contents_and_tools_over_the_ratio(
    contents: list[str], tools: list[Any]
) -> None:
    messages = [{"role": "user", "content": text} for text in contents]
    size = sum(len(text.encode()) for text in contents)
    size += len(json.dumps(tools, separators=(",", ":")).encode()) if tools else 0
    made = admitted(messages=messages, tools=tools)
    assert made.prompt_tokens == TIER.preamble_tokens - (-size // TIER.bytes_per_token)
    assert len(made.block_keys) == (TIER.preamble_tokens + int(size / TIER.bytes_per_token)) // 64


@given(limit=st.integers(1, 5000), effort=st.sampled_from(["none", "low", "high"]))
def test_a_limit_is_met_exactly_and_never_touches_reasoning(limit: int, effort: str) -> None:
    answer = admitted(max_completion_tokens=limit, reasoning_effort=effort).answer
    assert (answer.visible_tokens, answer.finish_reason) == (limit, "length")
    assert (answer.reasoning_tokens == 0) == (effort == "none")
    assert len(answer.text.plain(limit).split(" ")) == limit


def test_draws_follow_the_tier() -> None:
    made = [admitted(content=f"question {i}").answer for i in range(2000)]
    visible = sorted(answer.visible_tokens for answer in made)
    reasoning = sorted(answer.reasoning_tokens for answer in made)
    assert visible[1000] == pytest.approx(2.718281828**TIER.output_tokens_mu, rel=0.1)
    assert reasoning[1000] == pytest.approx(TIER.reasoning_tokens["low"], rel=0.1)
    assert {answer.finish_reason for answer in made} == {"stop"}
    # one sigma above the median of a lognormal
    assert visible[1682] == pytest.approx(
        2.718281828 ** (TIER.output_tokens_mu + TIER.output_tokens_sigma), rel=0.15
    )


def test_the_same_request_has_the_same_answer_and_another_has_another() -> None:
    assert admitted(content="a").answer == admitted(content="a").answer
    changes: list[dict[str, Any]] = [
        {"content": "b"},
        {"content": "a", "seed": 1},
        {"content": "a", "reasoning_effort": "medium"},
    ]
    for fields in changes:
        assert admitted(**fields).answer != admitted(content="a").answer
    assert admitted(content="a", stream=True).answer == admitted(content="a").answer
    assert admitted(seed=7, content="a").answer != admitted(content="a").answer


@pytest.mark.parametrize(
    ("choice", "last", "called"),
    [
        ("auto", "user", True),
        ("required", "user", True),
        ("none", "user", False),
        ("auto", "tool", False),
        ("auto", "assistant", False),
    ],
)
def test_when_a_tool_is_called(choice: str, last: str, called: bool) -> None:
    messages = [{"role": "user", "content": "x"}, {"role": last, "content": "y"}]
    answer = admitted(messages=messages, tools=TOOLS, tool_choice=choice).answer
    assert bool(answer.tool_calls) == called
    assert (answer.finish_reason == "tool_calls") == called


def test_a_named_tool_is_the_one_that_is_called_and_its_bytes_are_its_tokens() -> None:
    for i in range(20):
        answer = admitted(
            content=f"{i}", tools=TOOLS, tool_choice={"type": "function", "function": {"name": "second"}}
        ).answer
        [call] = answer.tool_calls
        assert call.name == "second"
        size = len(call.name) + len(call.arguments.encode())
        assert answer.visible_tokens == -(-size // TIER.bytes_per_token)


def test_a_document_that_the_limit_cuts_ends_with_length() -> None:
    whole = admitted(response_format={"type": "json_object"}).answer
    assert whole.finish_reason == "stop"
    document = whole.text.plain(whole.visible_tokens)
    assert isinstance(json.loads(document), dict)
    cut = admitted(response_format={"type": "json_object"}, max_completion_tokens=2).answer
    assert (cut.visible_tokens, cut.finish_reason) == (2, "length")
    assert len(cut.text.plain(2)) < len(document)


def test_an_answer_never_passes_the_context() -> None:
    room = TIER.context_length_tokens - TIER.preamble_tokens
    nearly = "four" * (room - 3)
    answer = admitted(content=nearly).answer
    assert answer.total_tokens <= 3
    assert answer.finish_reason == "length"
    with pytest.raises(RefusalError, match="maximum prompt length"):
        admitted(content="four" * (room + 1))


def test_the_recorded_bill_of_grok_4_3() -> None:
    sheet = load_catalog().price("grok-4.3")
    ticks = billed_ticks(sheet, prompt_tokens=197, cached_tokens=192, output_tokens=147, priority=False)
    assert ticks == 4_121_500
    # at the threshold the whole request is re-priced
    below = billed_ticks(sheet, prompt_tokens=199_999, cached_tokens=0, output_tokens=0, priority=False)
    at = billed_ticks(sheet, prompt_tokens=200_000, cached_tokens=0, output_tokens=0, priority=False)
    assert (below, at) == (199_999 * 12_500, 200_000 * 25_000)


def of_usage(usage: Any) -> int:
    """The ticks of a usage block, from the published integers of grok-4.3."""
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    output = usage["completion_tokens"] + usage["completion_tokens_details"]["reasoning_tokens"]
    return int((usage["prompt_tokens"] - cached) * 12_500 + cached * 2_000 + output * 25_000)


def test_usage_bills_what_the_ledger_holds() -> None:
    with fast_mock(fast_tier(0.0005)) as mock:
        url = mock.url
        bills = 0
        for content in ("one", "two", "one"):
            usage = whole_chat(url, content=content, seed=1, max_completion_tokens=4)["usage"]
            assert usage["cost_in_usd_ticks"] == of_usage(usage)
            assert usage["prompt_tokens_details"]["cached_tokens"] % 64 == 0
            bills += usage["cost_in_usd_ticks"]
        assert (
            usage["prompt_tokens_details"]["cached_tokens"] == 192
        )  # the preamble, as xAI's recordings have it
        fields = {"max_completion_tokens": 4, "service_tier": "priority", "reasoning_effort": "none"}
        twice = whole_chat(url, **fields)
        assert twice["service_tier"] == "priority"
        assert twice["usage"]["cost_in_usd_ticks"] == 2 * of_usage(twice["usage"])
        bills += twice["usage"]["cost_in_usd_ticks"]
        other = {"Authorization": "Bearer other"}
        _, _, body = ask(url, "/v1/chat/completions", chat_body(max_completion_tokens=1), headers=other)
        bill = json.loads(body)["usage"]["cost_in_usd_ticks"]
        assert total(url, "mock_billed_ticks_total") == bills + bill
        assert total(url, "mock_billed_ticks_total", key_id="d9298a10") == bill  # of SHA-256("other")
        assert total(url, "mock_billed_usd_total") == pytest.approx((bills + bill) / 1e10)


@settings(max_examples=15, deadline=None)
@given(limit=st.integers(1, 60), effort=st.sampled_from(["none", "low"]))
def test_streamed_and_whole_answers_say_the_same(fast_url: str, limit: int, effort: str) -> None:
    fields = {"max_completion_tokens": limit, "reasoning_effort": effort, "content": "the same"}
    whole = whole_chat(fast_url, **fields)
    streamed = stream_chat(fast_url, **fields)
    message = whole["choices"][0]["message"]
    deltas = [event["choices"][0]["delta"] for event in streamed if event["choices"]]
    assert "".join(delta.get("content", "") for delta in deltas) == message["content"]
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == message.get(
        "reasoning_content", ""
    )
    usage = streamed[-1]["usage"]
    assert sum("content" in delta for delta in deltas) == usage["completion_tokens"] == limit
    assert (
        sum("reasoning_content" in delta for delta in deltas)
        == usage["completion_tokens_details"]["reasoning_tokens"]
        == whole["usage"]["completion_tokens_details"]["reasoning_tokens"]
    )
