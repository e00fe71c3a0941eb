"""Every end of an answer has its outcome and its sentence, which repeats no key."""

import json

import pytest

from servebench.meter.answer import error_text, redact
from servebench.meter.ending import Ending
from servebench.meter.record import Outcome
from tests.meter.chunks import DONE, FINISH, XAI_USAGE, content, event, read


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
