"""Answers as real servers give them, whole, in parts, badly or not at all: each has its outcome."""

import socket
import time

import pytest

from servebench.meter.call import Timeouts
from servebench.meter.record import Outcome
from tests.meter.chat_stream import DONE, FINISH, GOOD, LAST, A, B, C, event, record_of, refusal
from tests.meter.servers import (
    STREAM_HEAD,
    Handler,
    frame,
    read_request,
    replies,
    reset,
)


def test_bytes_one_by_one() -> None:
    parts = [bytes((byte,)) for byte in GOOD]
    record = record_of(replies(*parts))
    assert (record.outcome, record.chunks, record.completion_tokens) == (Outcome.SUCCESS, 3, 3)


@pytest.mark.parametrize(
    "stream",
    [
        STREAM_HEAD + frame(A + B + C + FINISH + DONE) + LAST,
        STREAM_HEAD
        + frame(A[:9])
        + frame(A[9:] + B[:30])
        + frame(B[30:])
        + frame(C)
        + frame(FINISH + DONE)
        + LAST,
        STREAM_HEAD
        + b"%x;ext=1\r\n%b\r\n" % (len(A + B + C + DONE), A + B + C + DONE)
        + b"0\r\nX-T: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n"
        % len(A + B + C + DONE)
        + A
        + B
        + C
        + DONE,
        b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + A + B + C + DONE,
        b"HTTP/1.1 100 Continue\r\n\r\n" + GOOD,
        GOOD.replace(STREAM_HEAD, STREAM_HEAD[:-2] + b"X-Long: " + b"y" * 3000 + b"\r\n\r\n"),
        STREAM_HEAD + b"".join(frame(event({"content": t}, end="\r\n")) for t in "abc") + frame(DONE) + LAST,
        STREAM_HEAD
        + frame(b": ping\n\n")
        + frame(A)
        + frame(B)
        + frame(b": ping\n\n")
        + frame(C)
        + frame(DONE)
        + LAST,
    ],
    ids=[
        "one-frame",
        "split-events",
        "extensions",
        "length",
        "to-eof",
        "interim",
        "long-head",
        "crlf",
        "pings",
    ],
)
def test_framings_of_the_same_answer(stream: bytes) -> None:
    record = record_of(replies(stream))
    assert (record.outcome, record.error, record.chunks) == (Outcome.SUCCESS, "", 3)


BODY = b'{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}],"usage":{"completion_tokens":1}}'
JSON_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


def test_a_whole_json_answer() -> None:
    record = record_of(replies(JSON_HEAD % len(BODY) + BODY[:20], 0.05, BODY[20:]))
    assert (record.outcome, record.chunks, record.completion_tokens) == (Outcome.SUCCESS, 1, 1)
    assert record.first_token_ns == record.last_token_ns == record.end_ns
    assert record.tpot_s is None
    assert record.service_ttft_s is not None
    assert record.service_ttft_s > 0.045


@pytest.mark.parametrize(
    ("handler", "outcome", "word"),
    [
        (replies(STREAM_HEAD, frame(A)), Outcome.STREAM_CUT, "ended inside"),
        (replies(STREAM_HEAD[:30]), Outcome.STREAM_CUT, "ended inside"),
        (replies(), Outcome.STREAM_CUT, "before the answer"),
        (replies(STREAM_HEAD, frame(A) + LAST), Outcome.NO_FINISH, "finish"),
        (replies(STREAM_HEAD, frame(A), 0.8), Outcome.STALLED, "0.3 s"),
        (replies(0.8), Outcome.TIMEOUT_FIRST, "0.3 s"),
        (replies(STREAM_HEAD, 0.8), Outcome.TIMEOUT_FIRST, "0.3 s"),
        (replies(STREAM_HEAD, frame(A), b"zz\r\n"), Outcome.BAD_RESPONSE, "hexadecimal"),
        (replies(b"SSH-2.0-OpenSSH\r\n"), Outcome.BAD_RESPONSE, "not HTTP"),
        (replies(STREAM_HEAD, frame(b"data: {nonsense\n\n"), LAST), Outcome.BAD_RESPONSE, "not JSON"),
        (
            replies(STREAM_HEAD, frame(A), frame(b'data: {"error":"boom"}\n\n'), LAST),
            Outcome.STREAM_ERROR,
            "boom",
        ),
        (
            replies(refusal(b"401 Unauthorized", b'{"code":"x","error":"No credentials"}')),
            Outcome.HTTP_4XX,
            "No cred",
        ),
        (
            replies(refusal(b"429 Too Many", b'{"error":{"message":"slow down"}}')),
            Outcome.HTTP_429,
            "slow down",
        ),
        (replies(refusal(b"503 Busy", b"upstream gone")), Outcome.HTTP_5XX, "upstream gone"),
        (replies(refusal(b"302 Found", b"")), Outcome.BAD_RESPONSE, "302"),
        (
            replies(STREAM_HEAD, frame(A), frame(b'event: error\ndata: {"message":"gone"}\n\n'), LAST),
            Outcome.STREAM_ERROR,
            "gone",
        ),
        (replies(refusal(b"200 OK", b"<html>hello</html>")), Outcome.BAD_RESPONSE, "neither JSON"),
        (replies(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{"), Outcome.STREAM_CUT, "ended inside"),
        (replies(STREAM_HEAD, frame(A[:20]), LAST), Outcome.STREAM_CUT, "inside an event"),
        (replies(STREAM_HEAD, frame(b"\xff\xfe garbage\n\n"), LAST), Outcome.BAD_RESPONSE, "event stream"),
    ],
)
def test_what_goes_wrong_has_its_outcome(handler: Handler, outcome: Outcome, word: str) -> None:
    record = record_of(handler)
    assert record.outcome is outcome
    assert word in record.error
    assert record.chunks == (
        1 if outcome in (Outcome.STREAM_CUT, Outcome.STALLED) and record.first_token_ns else record.chunks
    )


def test_reset_in_mid_stream_keeps_what_came() -> None:
    def handler(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(STREAM_HEAD + frame(A) + frame(B))
        time.sleep(0.05)
        reset(sock)

    record = record_of(handler)
    assert (record.outcome, record.chunks, record.usage_source, record.completion_tokens) == (
        Outcome.STREAM_CUT,
        2,
        "counted",
        2,
    )
    assert "reset" in record.error.lower()


def test_a_trickle_is_ended_by_the_total_time() -> None:
    limits = Timeouts(connect_s=1, first_byte_s=1, idle_s=1, total_s=0.4)
    record = record_of(
        replies(STREAM_HEAD, *[part for _ in range(20) for part in (frame(A), 0.05)]), timeouts=limits
    )
    assert record.outcome is Outcome.STALLED
    assert "total" in record.error
    assert 4 <= record.chunks <= 12
