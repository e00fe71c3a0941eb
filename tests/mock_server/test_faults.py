"""Every fault, seen from the client's end of the connection."""

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.mock_server.faults_seen import (
    PATH,
    drain,
    inject,
    injected,
    last_entry,
    raw_answer,
    short,
)
from tests.mock_server.metrics_page import total
from tests.mock_server.raw_http import ask, connect, events, request_bytes, stream_chat
from tests.mock_server.server_process import running_mock


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_mock("--tier", "grok-4.3", "--replicas", "2", "--time-scale", "20") as url:
        yield url


def test_a_status_has_xais_body_and_its_retry_after(url: str) -> None:
    before = injected(url, "status")
    inject(url, {"kind": "status", "status": 503, "retry_after_s": 7})
    status, headers, body = ask(url, PATH, short())
    assert (status, headers["retry-after"]) == (503, "7")
    assert json.loads(body)["code"] == "unavailable"
    inject(url, {"kind": "status", "status": 500, "code": "odd", "error": "Odd."})
    status, headers, body = ask(url, PATH, short())
    assert (status, json.loads(body)) == (500, {"code": "odd", "error": "Odd."})
    assert "retry-after" not in headers
    assert injected(url, "status") == before + 2


def test_a_cold_start_is_503_for_its_time(url: str) -> None:
    inject(url, {"kind": "cold_start", "for_s": 1.5})
    assert ask(url, PATH, short())[0] == 503
    time.sleep(1.6)
    assert ask(url, PATH, short())[0] == 200


@pytest.mark.parametrize("stream", [True, False])
def test_a_slow_first_token(url: str, stream: bool) -> None:
    inject(url, {"kind": "slow_ttft", "delay_s": 0.4})
    start = time.monotonic()
    status, _, body = ask(url, PATH, short(stream))
    assert status == 200
    assert time.monotonic() - start > 0.4
    if stream:
        assert events(body)[-1]["usage"]["completion_tokens"] == 10


@pytest.mark.parametrize("stream", [True, False])
def test_a_stall_is_silence_and_then_all_of_it(url: str, stream: bool) -> None:
    inject(url, {"kind": "stall", "after_events": 3, "for_s": 1.5})
    with connect(url) as connection:
        connection.sendall(request_bytes("POST", PATH, json.dumps(short(stream)).encode()))
        first = connection.recv(65536)
        time.sleep(0.2)
        while first.count(b"data: ") < 3 and stream:
            first += connection.recv(65536)
        connection.setblocking(False)
        with pytest.raises(BlockingIOError):
            connection.recv(1)
        connection.settimeout(10)
        rest = connection.recv(65536)
        while stream and b"[DONE]" not in rest:
            rest += connection.recv(65536)
    if stream:
        assert first.count(b"data: ") == 3
        assert b"[DONE]" in rest
    else:
        head, _, body = (first + rest).partition(b"\r\n\r\n")
        assert json.loads(body)["usage"]["completion_tokens"] == 10
        assert f"content-length: {len(body)}".encode() in head


def test_a_cut_ends_the_connection_in_mid_answer_and_is_not_billed(url: str) -> None:
    billed, before = total(url, "mock_billed_ticks_total"), injected(url, "cut")
    inject(url, {"kind": "cut", "after_events": 4})
    seen, reset = raw_answer(url, short(tokens=50))
    assert not reset
    assert seen.count(b"data: ") == 4
    assert b"[DONE]" not in seen
    assert not seen.endswith(b"0\r\n\r\n")
    assert total(url, "mock_billed_ticks_total") == billed
    assert injected(url, "cut") == before + 1
    entry = last_entry(url)
    assert (entry["outcome"], entry["faults"], entry["billed_ticks"]) == ("broken", ["cut"], 0)


def test_a_cut_after_more_events_than_there_are_never_happens(url: str) -> None:
    before = injected(url, "cut")
    inject(url, {"kind": "cut", "after_events": 1000})
    assert raw_answer(url, short())[0].endswith(b"0\r\n\r\n")
    assert injected(url, "cut") == before


@pytest.mark.parametrize(("kind", "reset"), [("cut", False), ("reset", True)])
def test_before_the_first_byte_nothing_is_sent(url: str, kind: str, reset: bool) -> None:
    inject(url, {"kind": kind, "after_events": 0})
    for stream in (True, False):
        assert raw_answer(url, short(stream)) == (b"", reset)


def test_a_whole_answer_is_cut_in_the_middle_of_its_body(url: str) -> None:
    inject(url, {"kind": "cut"})
    seen, _ = raw_answer(url, short(stream=False))
    head, _, body = seen.partition(b"\r\n\r\n")
    (length,) = (int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
    assert len(body) == length // 2


def test_a_reset_is_a_reset(url: str) -> None:
    inject(url, {"kind": "stall", "after_events": 2, "for_s": 0.2}, {"kind": "reset", "after_events": 2})
    with connect(url) as connection:
        connection.sendall(request_bytes("POST", PATH, json.dumps(short(tokens=50)).encode()))
        assert connection.recv(65536)
        time.sleep(0.4)
        with pytest.raises(ConnectionResetError):
            drain(connection)
    assert last_entry(url)["faults"] == ["stall", "reset"]


def test_a_malformed_event_breaks_off_and_the_stream_goes_on(url: str) -> None:
    inject(url, {"kind": "malformed_event", "after_events": 2})
    body = ask(url, PATH, short())[2]
    parts = body.decode().split("\n\n")
    with pytest.raises(json.JSONDecodeError):
        json.loads(parts[2].removeprefix("data: "))
    assert parts[-2] == "data: [DONE]"
    assert len(parts) == 10 + 4
    status, headers, body = ask(url, PATH, short(stream=False))
    assert (status, int(headers["content-length"])) == (200, len(body))
    with pytest.raises(json.JSONDecodeError):
        json.loads(body)


def test_a_malformed_chunk_has_no_size(url: str) -> None:
    inject(url, {"kind": "malformed_chunk", "after_events": 2})
    assert raw_answer(url, short())[0].endswith(b"\r\nzz\r\n")


@pytest.mark.parametrize("stream", [True, False])
def test_an_error_inside_a_200(url: str, stream: bool) -> None:
    inject(url, {"kind": "error_event", "after_events": 3, "error": "Out of luck."})
    status, _, body = ask(url, PATH, short(stream))
    assert status == 200
    last = body.decode().split("\n\n")[3].removeprefix("data: ") if stream else body
    assert json.loads(last) == {"code": "internal", "error": "Out of luck."}
    assert last_entry(url)["outcome"] == "broken"


def test_usage_is_missing_or_wrong_and_the_bill_is_true(url: str) -> None:
    inject(url)
    true = stream_chat(url, max_completion_tokens=10, reasoning_effort="none")[-1]["usage"]
    inject(url, {"kind": "no_usage"})
    assert not any("usage" in event for event in events(ask(url, PATH, short())[2]))
    assert "usage" not in json.loads(ask(url, PATH, short(stream=False))[2])
    assert last_entry(url)["billed_ticks"] > 0
    inject(url, {"kind": "wrong_usage", "factor": 3})
    for stream in (True, False):
        body = ask(url, PATH, short(stream))[2]
        usage = (events(body)[-1] if stream else json.loads(body))["usage"]
        assert usage["completion_tokens"] == 30
        assert usage["total_tokens"] == true["total_tokens"] + 20
        assert usage["cost_in_usd_ticks"] == last_entry(url)["billed_ticks"]


def test_no_finish_and_no_done(url: str) -> None:
    inject(url, {"kind": "no_finish"})
    assert not any(
        "finish_reason" in choice
        for event in events(ask(url, PATH, short())[2])
        for choice in event["choices"]
    )
    assert "finish_reason" not in json.loads(ask(url, PATH, short(stream=False))[2])["choices"][0]
    inject(url, {"kind": "no_done"})
    assert b"[DONE]" not in ask(url, PATH, short())[2]


def responded(url: str, *, stream: bool, **fields: Any) -> bytes:
    body = {
        "model": "grok-4.3", "input": "hello", "stream": stream, "max_output_tokens": 10,
        "reasoning": {"effort": "none"}, **fields,
    }  # fmt: skip
    status, _, raw = ask(url, "/v1/responses", body)
    assert status == 200
    return raw


def test_responses_go_wrong_in_the_same_ways(url: str) -> None:
    inject(url)
    usage = json.loads(responded(url, stream=False))["usage"]
    inject(url, {"kind": "no_usage"})
    assert "usage" not in json.loads(responded(url, stream=False))
    assert b'"output_tokens":' not in responded(url, stream=True)
    inject(url, {"kind": "wrong_usage", "factor": 2})
    wrong = json.loads(responded(url, stream=False))["usage"]
    assert wrong["output_tokens"] == 2 * usage["output_tokens"]
    inject(url, {"kind": "no_finish"})
    assert b"response.output_text.delta" in responded(url, stream=True)
    assert b"response.completed" not in responded(url, stream=True)
    assert "status" not in json.loads(responded(url, stream=False))
    inject(url, {"kind": "error_event", "after_events": 4})
    assert responded(url, stream=True).endswith(
        b'data: {"code":"internal","error":"The stream failed on the server."}\n\n'
    )
    inject(url, {"kind": "status", "status": 502})
    assert ask(url, "/v1/responses", {"model": "grok-4.3", "input": "hello"})[0] == 502
    assert last_entry(url)["path"] == "/v1/responses"


def test_an_event_whose_text_looks_like_sse_is_changed_all_the_same(url: str) -> None:
    inject(url, {"kind": "no_usage"})
    seen = responded(url, stream=True, instructions='say data: {"x"} and event: y')
    assert b"event: response.incomplete" in seen
    assert b'"output_tokens":' not in seen


def test_an_orderly_client_is_answered_while_others_are_broken(url: str) -> None:
    inject(url, {"kind": "cut", "rate": 0.5, "after_events": 2}, seed=3)
    seen: list[bytes] = []
    threads = [
        threading.Thread(target=lambda i=i: seen.append(raw_answer(url, short(content=f"{i}"))[0]))
        for i in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    whole = [answer for answer in seen if answer.endswith(b"0\r\n\r\n")]
    assert 0 < len(whole) < 20
    assert all(answer.count(b"data: ") == 13 for answer in whole)
    assert all(answer.count(b"data: ") == 2 for answer in seen if answer not in whole)
