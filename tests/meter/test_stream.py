"""What an answer says, chunk by chunk: the fast path agrees with the parser, every end has its outcome."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servebench.meter.answer import error_text, redact
from servebench.meter.ending import Ending
from servebench.meter.record import Outcome
from servebench.meter.stream import AnswerReader
from servebench.meter.usage import read_usage

SSE = "text/event-stream; charset=utf-8"
XAI_USAGE = {
    "prompt_tokens": 12,
    "completion_tokens": 1,
    "total_tokens": 303,
    "prompt_tokens_details": {"text_tokens": 12, "audio_tokens": 0, "image_tokens": 0, "cached_tokens": 11},
    "completion_tokens_details": {"reasoning_tokens": 290, "audio_tokens": 0},
    "num_sources_used": 0,
    "cost_in_usd_ticks": 1466250,
}


def event(payload: object, end: str = "\n") -> bytes:
    text = payload if isinstance(payload, str) else json.dumps(payload, separators=(",", ":"))
    return f"data: {text}{end}{end}".encode()


def chunk(delta: dict[str, Any], created: int = 1, **more: Any) -> dict[str, Any]:
    finish = {"finish_reason": more.pop("finish")} if "finish" in more else {}
    return {
        "id": "73270000",
        "object": "chat.completion.chunk",
        "created": created,
        "model": "grok-4.3",
        "choices": [{"index": 0, "delta": delta} | finish],
        "system_fingerprint": "fp_2a885414fb",
    } | more


def read(
    pieces: list[bytes], *, status: int = 200, content_type: str = SSE, framed: bool = True, step: int = 1
) -> AnswerReader:
    reader = AnswerReader()
    reader.begin(status, content_type, framed=framed)
    for place, piece in enumerate(pieces):
        reader.feed(piece, 1000 * (place // step + 1))
    return reader


def content(text: str) -> bytes:
    return event(chunk({"content": text}))


FINISH = event(chunk({}, finish="stop"))
DONE = event("[DONE]")


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


@pytest.mark.parametrize(
    ("pieces", "ending", "outcome"),
    [
        ([content("a"), FINISH, DONE], Ending.COMPLETE, Outcome.SUCCESS),
        ([content("a"), FINISH], Ending.COMPLETE, Outcome.SUCCESS),
        ([content("a"), DONE], Ending.COMPLETE, Outcome.SUCCESS),
        ([content("a"), FINISH, DONE], Ending.CUT, Outcome.SUCCESS),
        ([content("a"), FINISH, DONE], Ending.IDLE, Outcome.SUCCESS),
        ([content("a"), FINISH], Ending.CUT, Outcome.STREAM_CUT),
        ([content("a")], Ending.COMPLETE, Outcome.NO_FINISH),
        ([content("a"), content("b")[:-1]], Ending.COMPLETE, Outcome.STREAM_CUT),
        ([], Ending.COMPLETE, Outcome.NO_FINISH),
        ([content("a")], Ending.CUT, Outcome.STREAM_CUT),
        ([content("a")], Ending.IDLE, Outcome.STALLED),
        ([], Ending.NO_FIRST_BYTE, Outcome.TIMEOUT_FIRST),
        ([content("a")], Ending.MALFORMED, Outcome.BAD_RESPONSE),
        ([content("a")], Ending.ABORTED, Outcome.ABORTED),
        ([content("a"), event({"error": {"message": "boom"}}), DONE], Ending.COMPLETE, Outcome.STREAM_ERROR),
        ([event({"code": "x", "error": "flat"})], Ending.ABORTED, Outcome.STREAM_ERROR),
        ([b'event: error\ndata: {"message":"named"}\n\n'], Ending.COMPLETE, Outcome.STREAM_ERROR),
        ([b"event: error\ndata: plain words\n\n"], Ending.COMPLETE, Outcome.STREAM_ERROR),
        ([content("a"), event("{garbage"), FINISH, DONE], Ending.COMPLETE, Outcome.BAD_RESPONSE),
        ([event("[1]"), DONE], Ending.COMPLETE, Outcome.BAD_RESPONSE),
        ([event("{}"), DONE], Ending.COMPLETE, Outcome.BAD_RESPONSE),
        ([event({"choices": "x"}), DONE], Ending.COMPLETE, Outcome.BAD_RESPONSE),
        ([event({"choices": [{"delta": 5}]}), DONE], Ending.COMPLETE, Outcome.BAD_RESPONSE),
        ([event({"choices": [5]}), DONE], Ending.COMPLETE, Outcome.BAD_RESPONSE),
        ([b"data: \xff\xfe\n\n", DONE], Ending.COMPLETE, Outcome.BAD_RESPONSE),
        ([b"<html>busy</html>"], Ending.COMPLETE, Outcome.BAD_RESPONSE),
        ([b"<html>\n\n</html>\n\n"], Ending.COMPLETE, Outcome.BAD_RESPONSE),
        ([b": ping\n\n"], Ending.COMPLETE, Outcome.NO_FINISH),
        (
            [content("a"), content("b"), content("BAD").replace(b"BAD", b"\xff"), DONE],
            Ending.COMPLETE,
            Outcome.BAD_RESPONSE,
        ),
    ],
)
def test_outcomes_of_streams(pieces: list[bytes], ending: Ending, outcome: Outcome) -> None:
    reader = read(pieces)
    result, error = reader.judge(ending, "why")
    assert result is outcome
    assert bool(error) == (outcome is not Outcome.SUCCESS)


def test_nothing_counts_after_done() -> None:
    reader = read([content("a"), content("b"), FINISH, DONE, content("c"), content("d"), event("{garbage")])
    assert list(reader.times) == [1000, 2000]
    assert reader.judge(Ending.COMPLETE)[0] is Outcome.SUCCESS


ANSWER = {
    "id": "1",
    "object": "chat.completion",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "hello", "reasoning_content": "hm"},
            "finish_reason": "stop",
        }
    ],
    "usage": XAI_USAGE,
    "service_tier": "default",
}


def test_a_whole_body_arrives_at_its_last_byte() -> None:
    text = json.dumps(ANSWER).encode()
    for content_type in ("application/json", "", "text/plain"):
        reader = read([text[:40], text[40:]], content_type=content_type, framed=False)
        assert reader.judge(Ending.COMPLETE) == (Outcome.SUCCESS, "")
        assert (list(reader.times), reader.first_visible_ns, reader.reasoning_chunks) == ([2000], 2000, 0)
        assert (reader.service_tier, reader.finish_reason) == ("default", "stop")
        assert reader.usage_facts()["reasoning_tokens"] == 290


def test_an_event_stream_without_its_content_type_is_read_as_one() -> None:
    for cut in range(1, 8):  # wherever its first bytes are split
        pieces = [content("a")[:cut], content("a")[cut:], FINISH, DONE]
        reader = read(pieces, content_type="text/plain")
        assert reader.judge(Ending.COMPLETE)[0] is Outcome.SUCCESS
        assert len(reader.times) == 1


@pytest.mark.parametrize(
    ("body", "status", "outcome"),
    [
        (b"<html>busy</html>", 200, Outcome.BAD_RESPONSE),
        (b"", 200, Outcome.BAD_RESPONSE),
        (b"{}", 200, Outcome.BAD_RESPONSE),
        (b"[]", 200, Outcome.BAD_RESPONSE),
        (b'{"choices":[{"message":{"content":"a"}}]}', 200, Outcome.NO_FINISH),
        (b'{"error":{"message":"inside a 200"}}', 200, Outcome.STREAM_ERROR),
        (b"", 204, Outcome.BAD_RESPONSE),
        (b"moved", 302, Outcome.BAD_RESPONSE),
        (
            b'{"code":"unauthenticated:no-credentials","error":"No credentials presented."}',
            401,
            Outcome.HTTP_4XX,
        ),
        (b'{"code":"resource-exhausted","error":"Too many requests"}', 429, Outcome.HTTP_429),
        (b"upstream connect error", 503, Outcome.HTTP_5XX),
        (b"", 500, Outcome.HTTP_5XX),
    ],
)
def test_outcomes_of_whole_bodies(body: bytes, status: int, outcome: Outcome) -> None:
    pieces = [body] if body else []
    reader = read(pieces, status=status, content_type="application/json")
    assert reader.judge(Ending.COMPLETE)[0] is outcome
    if status >= 400:
        assert not reader.times
        cut = read(pieces, status=status, content_type="application/json")
        assert cut.judge(Ending.CUT)[0] is outcome


def test_error_sentences() -> None:
    assert (
        error_text({"code": "invalid-argument", "error": "Model not found: grok-99"})
        == "Model not found: grok-99"
    )
    assert error_text({"error": {"message": "nested", "type": "x"}}) == "nested"
    assert error_text({"detail": "fastapi"}) == "fastapi"
    assert error_text("plain\n  text ") == "plain text"
    assert len(error_text({"error": "long " * 100})) == 200
    odds: list[object] = [[], 5, {"error": {"code": 5}}, {"error": ["x"]}, None, {}]
    for odd in odds:
        assert isinstance(error_text(odd), str)


@pytest.mark.parametrize(
    "key",
    [
        "xai-abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJ",
        "sk-proj-abcdef_123456-XYZ",
        "Bearer abc.def.ghi",
        "bearer  short-key",
        "Basic dXNlcjpwYXNz==",
        "0123456789abcdef0123456789ABCDEF",
    ],
)
def test_nothing_that_looks_like_a_key_is_repeated(key: str) -> None:
    text = redact(f"Incorrect API key provided: {key}. You can obtain one")
    assert key.split()[-1] not in text
    assert "You can obtain one" in text
    # nor one that is cut by the limit
    assert key.split()[-1][:12] not in redact("x" * 150 + f" {key} " + "y" * 150)


def test_own_secrets_are_never_repeated() -> None:
    assert "tops" not in redact("the header was topsecret!", ("topsecret!",))
    assert redact("team 150c007d-f06f-945f-b763-621c061d0df9") == "team 150c007d-f06f-945f-b763-621c061d0df9"


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


def test_chunk_times_are_exact_in_sum_and_shared_stamps_are_counted() -> None:
    reader = AnswerReader()
    reader.begin(200, SSE, framed=True)
    stamps = [1_000_400, 1_000_900, 1_001_350, 1_001_350, 5_000_000_499]
    for at_ns in stamps:
        reader.feed(content("a"), at_ns)
    steps, shared = reader.chunk_us(400)
    assert sum(steps) == 5_000_000
    assert list(steps[:4]) == [1000, 1, 0, 0]
    assert shared == 1


def test_events_that_the_server_bundled_are_not_coalesced() -> None:
    bundle = content("a") + content("b") + content("c")
    assert read([content("x"), bundle, content("y"), FINISH, DONE]).chunk_us(0)[1] == 0
    # without the server's frames nobody can tell whose doing it was
    assert read([content("x"), bundle, content("y"), FINISH, DONE], framed=False).chunk_us(0)[1] == 2


def test_a_clock_that_was_set_in_mid_stream_gives_no_negative_gap() -> None:
    reader = AnswerReader()
    reader.times.extend((1_000_000, 7_200_000_000_000, 3_000_000))  # two hours on, and back
    chunk_us, _ = reader.chunk_us(0)
    assert list(chunk_us) == [1_000, 2**31 - 1 - 1_000, 0]


def test_a_stamp_that_runs_backwards_gives_no_negative_gap() -> None:
    reader = AnswerReader()
    reader.begin(200, SSE, framed=True)
    for at_ns in (5_000, 20_000, 15_000, 30_000):
        reader.feed(content("a"), at_ns)
    assert list(reader.chunk_us(10_000)[0]) == [0, 10, 0, 10]
