"""What a stream says, chunk by chunk: the fast path agrees with the parser; tokens, tools, usage."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servebench.meter.ending import Ending
from servebench.meter.record import Outcome
from servebench.meter.stream import AnswerReader
from servebench.meter.usage import read_usage
from tests.meter.chunks import DONE, FINISH, SSE, XAI_USAGE, chunk, content, event, read


def test_a_recorded_stream_of_xai() -> None:
    usage = event(
        {"id": "7", "object": "chat.completion.chunk", "created": 9, "choices": [], "usage": XAI_USAGE}
    )
    reader = read(
        [
            event(chunk({"reasoning_content": "First", "role": "assistant"})),
            event(chunk({"reasoning_content": ","})),
            event(chunk({"reasoning_content": " the"})),
            event(chunk({"content": "Hello"}, created=4)),
            FINISH,
            usage,
            DONE,
        ]
    )
    assert reader.judge(Ending.COMPLETE) == (Outcome.SUCCESS, "")
    assert list(reader.times) == [1000, 2000, 3000, 4000]
    assert (reader.reasoning_chunks, reader.first_visible_ns) == (3, 4000)
    assert reader.finish_reason == "stop"
    assert reader.usage_facts() == {
        "prompt_tokens": 12,
        "cached_tokens": 11,
        "completion_tokens": 1,
        "reasoning_tokens": 290,
        "billed_ticks": 1466250,
        "usage_source": "usage",
        "usage_note": "",
        "server_tools": None,
    }


def test_tool_calls_are_visible_tokens_and_counted_by_index() -> None:
    def call(index: int, arguments: str) -> dict[str, Any]:
        return {
            "index": index,
            "id": "c",
            "type": "function",
            "function": {"name": "f", "arguments": arguments},
        }

    reader = read(
        [
            event(chunk({"role": "assistant", "content": ""})),
            event(chunk({"tool_calls": [call(0, "{")]})),
            event(chunk({"tool_calls": [call(0, "}"), call(1, "{}")]})),
            event(chunk({}, finish="tool_calls")),
            DONE,
        ]
    )
    assert reader.judge(Ending.COMPLETE)[0] is Outcome.SUCCESS
    assert (reader.tool_calls, list(reader.times), reader.first_visible_ns) == (2, [2000, 3000], 2000)
    assert reader.finish_reason == "tool_calls"


def test_empty_and_role_only_deltas_are_no_tokens() -> None:
    empty: list[dict[str, Any]] = [
        {"role": "assistant"},
        {"content": ""},
        {"content": None},
        {"reasoning_content": ""},
        {"tool_calls": []},
        {},
    ]
    reader = read(
        [content("a"), content("b"), *(event(chunk(delta)) for delta in empty), content("c"), FINISH]
    )
    assert list(reader.times) == [1000, 2000, 9000]


@pytest.mark.parametrize(
    "text", ['a"b', "back\\slash", "new\nline", "\\", '"', "é👋\u2028", " ", "\\\\", "}}]\n\ndata: [DONE]"]
)
def test_text_that_needs_care(text: str) -> None:
    reader = read([content("a"), content("b"), content(text), content("c"), FINISH, DONE])
    assert list(reader.times) == [1000, 2000, 3000, 4000]
    assert reader.judge(Ending.COMPLETE) == (Outcome.SUCCESS, "")


_TEXTS = st.text(min_size=0, max_size=6) | st.sampled_from(
    ['"', "\\", '\\"', '","x":"', "a", " the", '"content":"']
)
_DELTAS = st.one_of(
    _TEXTS.map(lambda text: chunk({"content": text})),
    _TEXTS.map(lambda text: chunk({"content": text}, created=2)),
    _TEXTS.map(lambda text: chunk({"reasoning_content": text})),
    _TEXTS.map(lambda text: chunk({"reasoning": text, "role": "assistant"})),
    st.tuples(_TEXTS, _TEXTS).map(lambda both: chunk({"content": both[0], "reasoning_content": both[1]})),
    _TEXTS.map(lambda text: chunk({"content": text}, finish="stop")),
    _TEXTS.map(lambda text: chunk({"content": text}, usage=None)),
    _TEXTS.map(lambda text: chunk({"content": text}, usage=XAI_USAGE, service_tier="priority")),
    st.just(chunk({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]})),
    st.just(chunk({})),
)


def plainly(chunks: list[dict[str, Any]]) -> Iterator[tuple[bool, bool]]:
    """(visible, reasoning) of each chunk, from the objects themselves."""
    for item in chunks:
        delta = item["choices"][0]["delta"]
        yield (
            bool(delta.get("content") or delta.get("tool_calls")),
            bool(delta.get("reasoning_content") or delta.get("reasoning")),
        )


@given(st.lists(_DELTAS, max_size=25), st.booleans(), st.sampled_from(["\n", "\r\n", "\r"]))
def test_templates_never_change_what_is_read(
    chunks: list[dict[str, Any]], ascii_only: bool, end: str
) -> None:
    """Any mixture of chunks: times, kinds and usage are those of the objects that were sent."""
    pieces = (
        [
            f"data: {json.dumps(item, separators=(',', ':'), ensure_ascii=ascii_only)}{end}{end}".encode()
            for item in chunks
        ]
        if not _has_surrogate(chunks)
        else [event(item, end) for item in chunks]
    )
    reader = read(pieces)
    kinds = list(plainly(chunks))
    assert list(reader.times) == [1000 * (i + 1) for i, kind in enumerate(kinds) if any(kind)]
    assert reader.reasoning_chunks == sum(reasoning and not visible for visible, reasoning in kinds)
    visible = [1000 * (i + 1) for i, kind in enumerate(kinds) if kind[0]]
    assert reader.first_visible_ns == (visible[0] if visible else None)
    finished = any("finish_reason" in item["choices"][0] for item in chunks)
    assert reader.judge(Ending.COMPLETE)[0] is (Outcome.SUCCESS if finished else Outcome.NO_FINISH)
    assert (reader.usage is not None) == any(item.get("usage") for item in chunks)


def _has_surrogate(chunks: list[dict[str, Any]]) -> bool:
    return any(0xD800 <= ord(letter) < 0xE000 for letter in json.dumps(chunks, ensure_ascii=False))


@given(st.lists(_DELTAS, max_size=12), st.integers(1, 60))
def test_pieces_cut_anywhere_give_the_same_answer(chunks: list[dict[str, Any]], size: int) -> None:
    stream = b"".join(event(item) for item in chunks) + DONE
    cut = read([stream[start : start + size] for start in range(0, len(stream), size)], framed=False)
    whole = read([event(item) for item in chunks] + [DONE])
    assert len(cut.times) == len(whole.times)
    assert (cut.reasoning_chunks, cut.tool_calls, cut.usage) == (
        whole.reasoning_chunks,
        whole.tool_calls,
        whole.usage,
    )
    assert cut.judge(Ending.COMPLETE) == whole.judge(Ending.COMPLETE)


class Counting(AnswerReader):
    """Counts the pieces that were parsed."""

    parsed = 0

    def _feed_slow(self, piece: bytes, at_ns: int) -> None:
        self.parsed += 1
        super()._feed_slow(piece, at_ns)


def test_the_fast_path_is_taken() -> None:
    """Else the property above would say nothing: of each run of alike chunks two are parsed at most."""
    reader = Counting()
    reader.begin(200, SSE, framed=True)
    texts = [" word", "ing", ",", "語", "é👋"] * 20
    for kind in ("reasoning_content", "content"):
        for text in texts:
            piece = json.dumps(chunk({kind: text}), ensure_ascii=False, separators=(",", ":"))
            reader.feed(f"data: {piece}\n\n".encode(), 5)
    assert len(reader.times) == 200
    assert reader.reasoning_chunks == 100
    assert reader.parsed <= 4


def test_usage_that_contradicts_itself_is_noted() -> None:
    assert read_usage(XAI_USAGE).note == ""
    openai = {
        "prompt_tokens": 5,
        "completion_tokens": 9,
        "total_tokens": 14,
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    assert read_usage(openai).note == ""
    assert "cached" in read_usage({"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 6}}).note
    assert "sum" in read_usage({"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 99}).note
    assert "not a count" in read_usage({"prompt_tokens": -5}).note
    odd = read_usage({"prompt_tokens": "x", "completion_tokens": True, "prompt_tokens_details": 5})
    assert (odd.prompt_tokens, odd.completion_tokens, odd.cached_tokens) == (None, None, None)
    reader = read(
        [content("a"), content("b"), event({"choices": [], "usage": {"completion_tokens": 1}}), DONE]
    )
    assert "2 visible chunks" in reader.usage_facts()["usage_note"]


def test_without_usage_chunks_are_counted() -> None:
    reader = read([event(chunk({"reasoning_content": "x"})), content("a"), content("b")])
    facts = reader.usage_facts()
    assert facts == {"completion_tokens": 2, "reasoning_tokens": 1, "usage_source": "counted"}
    assert read([FINISH, DONE]).usage_facts() == {}
