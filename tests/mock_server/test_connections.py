"""Bytes and connections: framing, reuse, old clients, slow clients, big bodies."""

import json
import time

from mock_server.choices import UNREAD_BYTES
from tests.mock_server.fast_mock import fast_mock, fast_tier
from tests.mock_server.metrics_page import total
from tests.mock_server.raw_http import (
    ask,
    chat_body,
    connect,
    events,
    read_answer,
    read_chunks,
    request_bytes,
)

CHAT = "/v1/chat/completions"


def stream_request(tokens: int, version: str = "1.1") -> bytes:
    body = chat_body(stream=True, max_completion_tokens=tokens, reasoning_effort="none")
    return request_bytes("POST", CHAT, json.dumps(body).encode(), version=version)


def test_a_connection_serves_streams_and_answers_in_turn(fast_url: str) -> None:
    with connect(fast_url) as connection:
        for _ in range(3):
            connection.sendall(stream_request(4))
            status, headers, body = read_answer(connection)
            assert (status, headers["transfer-encoding"]) == (200, "chunked")
            assert len(events(body)) == 5
            connection.sendall(request_bytes("GET", "/health"))
            assert read_answer(connection)[0] == 200


def test_one_event_a_chunk_and_one_token_an_event(fast_url: str) -> None:
    with connect(fast_url) as connection:
        connection.sendall(stream_request(6))
        stream = connection.makefile("rb")
        while stream.readline().strip():
            pass
        chunks = read_chunks(stream)
    assert all(chunk.startswith(b"data: ") and chunk.count(b"\n\n") == 1 for chunk in chunks)
    assert len(chunks) == 6 + 2  # the finish reason and [DONE]
    words = [json.loads(chunk[6:])["choices"][0]["delta"]["content"] for chunk in chunks[:6]]
    assert [word.count(" ") for word in words] == [0, 1, 1, 1, 1, 1]


def test_http_1_0_streams_without_chunks_and_closes(fast_url: str) -> None:
    with connect(fast_url) as connection:
        connection.sendall(stream_request(4, version="1.0"))
        status, headers, body = read_answer(connection)
    assert status == 200
    assert headers["connection"] == "close"
    assert "transfer-encoding" not in headers
    assert len(events(body)) == 5


def test_a_client_that_asks_to_close_is_closed(fast_url: str) -> None:
    with connect(fast_url) as connection:
        body = json.dumps(chat_body(stream=True, max_completion_tokens=2)).encode()
        headers = {"Authorization": "Bearer x", "Connection": "close"}
        connection.sendall(request_bytes("POST", CHAT, body, headers))
        assert read_answer(connection)[0] == 200
        assert connection.recv(1) == b""


def test_drafts_bring_several_tokens_in_an_event() -> None:
    with (
        fast_mock(fast_tier(0.0005, draft_tokens=3, accepted_tokens=2.5)) as mock,
        connect(mock.url) as connection,
    ):
        connection.sendall(stream_request(400))
        made = events(read_answer(connection)[2])
    texts = [event["choices"][0]["delta"]["content"] for event in made[:-1]]
    assert len("".join(texts).split(" ")) == 400
    assert 120 < len(texts) < 240  # 400 tokens at 2.5 a step, drawn


def test_a_client_that_does_not_read_costs_no_memory_and_loses_nothing() -> None:
    tokens = 20_000  # 5 MB of events
    with fast_mock(fast_tier(0.0001)) as mock, connect(mock.url) as connection:
        connection.sendall(stream_request(tokens))
        worst, deadline = 0, time.monotonic() + 20
        while total(mock.url, "vllm:generation_tokens_total") < tokens and time.monotonic() < deadline:
            worst = max(worst, mock.unread_bytes())
            time.sleep(0.05)
        assert total(mock.url, "vllm:generation_tokens_total") == tokens
        assert UNREAD_BYTES < worst < 2 * UNREAD_BYTES
        assert total(mock.url, "mock_billed_ticks_total") == 0  # nothing of it has arrived
        made = events(read_answer(connection)[2])
        assert len(made) == tokens + 1
        assert made[-1]["choices"][0]["finish_reason"] == "length"
        assert total(mock.url, "mock_billed_ticks_total") > 0


def test_a_big_body_is_served_and_counted_to_the_token(fast_url: str) -> None:
    content = "word " * 400_000  # 2 MB: parsed off the event loop
    status, _, body = ask(
        fast_url, CHAT, chat_body(content, max_completion_tokens=1, reasoning_effort="none")
    )
    assert status == 200, body
    assert json.loads(body)["usage"]["prompt_tokens"] == 192 + 500_000
    again = ask(fast_url, CHAT, chat_body(content + "!", max_completion_tokens=1, reasoning_effort="none"))[2]
    cached = json.loads(again)["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert cached % 64 == 0
    assert 500_192 - cached <= 2 * 64
