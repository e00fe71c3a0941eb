"""A server may say anything: whatever it is, the answer has an outcome, and nothing raises."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servebench.meter.answer import MAX_MESSAGE, error_text
from servebench.meter.call import CHAT_PATH, RESPONSES_PATH, Call
from servebench.meter.ending import Ending
from servebench.meter.exchange import Exchange
from servebench.meter.record import Outcome
from servebench.meter.usage import read_responses_usage, read_usage

_WORDS = st.sampled_from(
    [
        "type", "delta", "choices", "index", "message", "content", "tool_calls", "function", "arguments",
        "finish_reason", "usage", "error", "code", "output", "item", "output_index", "response", "status",
        "incomplete_details", "reason", "reasoning_content", "service_tier", "prompt_tokens", "total_tokens",
        "completion_tokens", "completion_tokens_details", "reasoning_tokens", "cost_in_usd_ticks",
        "server_side_tool_usage_details", "input_tokens", "output_tokens", "output_tokens_details",
        "response.output_text.delta", "response.function_call_arguments.delta", "response.completed",
        "response.output_item.done", "response.failed", "response.incomplete", "function_call",
    ]
)  # fmt: skip
_LEAVES = st.none() | st.booleans() | st.integers(-3, 2**63) | st.floats(allow_nan=False) | _WORDS
_ANYTHING = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS, inner, max_size=5),
    max_leaves=14,
)
_EVENTS = st.lists(_ANYTHING.map(orjson.dumps) | st.binary(max_size=40), max_size=4)
_HEADERS = st.dictionaries(
    st.sampled_from(
        [
            "retry-after", "retry-after-ms", "date", "x-request-id", "x-metrics-ttft-ms",
            "x-ratelimit-limit-tokens",
        ]
    ),
    st.sampled_from(["Wed, 25 Nov 2026 13:00:00 GMT", "1e400", "Wed, 25 Nov 99999999999999999999 13:00 GMT"])
    | st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=60),
    max_size=4,
)  # fmt: skip


def exchange_of(path: str) -> Exchange:
    call = Call(1, "chat", None, 0, "m", 0, b"{}", path=path)
    return Exchange(call, lambda *_: None, now_ns=0, secrets=())


@given(
    st.sampled_from([CHAT_PATH, RESPONSES_PATH]),
    st.sampled_from([200, 200, 200, 429, 500]),
    st.sampled_from(["text/event-stream", "application/json", ""]),
    _EVENTS,
    _HEADERS,
    st.sampled_from(list(Ending)),
)
def test_every_answer_has_an_outcome_and_a_line_on_disk(
    path: str, status: int, kind: str, events: list[bytes], headers: dict[str, str], ending: Ending
) -> None:
    exchange = exchange_of(path)
    exchange.parser.status, exchange.parser.headers = status, {**headers, "content-type": kind}
    exchange.begin_answer()
    stream = "event-stream" in kind
    for place, event in enumerate(events):
        exchange.answer.feed(b"data: " + event + b"\n\n" if stream else event or b" ", 1_000 * place)
    record, chunk_us = exchange.record(ending, "x", end_ns=10_000, t0_ns=0, response_bytes=9)
    assert isinstance(record.outcome, Outcome)
    assert record.chunks == len(chunk_us)
    assert len(record.error) <= MAX_MESSAGE
    assert len(orjson.dumps(record.to_json())) < 4_000


@pytest.mark.parametrize("path", [CHAT_PATH, RESPONSES_PATH])
@pytest.mark.parametrize("text", ['{"error":%s}' % ("[" * 1000 + "]" * 1000), "[" * 5000])
def test_nesting_without_end_is_an_outcome(path: str, text: str) -> None:
    exchange = exchange_of(path)
    exchange.parser.status, exchange.parser.headers = 200, {"content-type": "text/event-stream"}
    exchange.begin_answer()
    exchange.answer.feed(b"data: " + text.encode() + b"\n\n", 5)
    record, _ = exchange.record(Ending.COMPLETE, "", end_ns=9, t0_ns=0, response_bytes=1)
    assert record.outcome in (Outcome.STREAM_ERROR, Outcome.BAD_RESPONSE)
    assert error_text([text])


def test_counts_that_no_server_can_mean_are_no_counts() -> None:
    """They would not fit 63 bits once they are ticks."""
    usage = read_usage({"prompt_tokens": 2**62, "completion_tokens": 3, "cost_in_usd_ticks": 2**63})
    assert (usage.prompt_tokens, usage.completion_tokens, usage.ticks) == (None, 3, None)
    assert "prompt_tokens is not a count" in usage.note
    assert read_responses_usage({"input_tokens": 2**62}).prompt_tokens is None


@pytest.mark.parametrize("key", ["finish_reason", "service_tier"])
def test_a_label_is_short(key: str) -> None:
    exchange = exchange_of(CHAT_PATH)
    exchange.parser.status, exchange.parser.headers = 200, {"content-type": "text/event-stream"}
    exchange.begin_answer()
    said = {"choices": [{"delta": {}, "finish_reason": "x" * 9_000}], "service_tier": "y" * 9_000}
    exchange.answer.feed(b"data: " + orjson.dumps(said) + b"\n\n", 5)
    record, _ = exchange.record(Ending.COMPLETE, "", end_ns=9, t0_ns=0, response_bytes=1)
    assert len(getattr(record, key)) <= 64
