"""The engine against real servers that answer well, badly, late, in parts or not at all."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from array import array

import gevent
import pytest

from servebench.errors import OperationError, UsageError
from servebench.meter.call import Call, Target, Timeouts
from servebench.meter.engine_loop import EngineLoop
from servebench.meter.record import Outcome, RequestRecord
from tests.meter.servers import (
    FAST,
    STREAM_HEAD,
    Handler,
    frame,
    make_call,
    read_request,
    replies,
    reset,
    run_calls,
    serve,
)

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="kernel receive timestamps are Linux's")
LAST = b"0\r\n\r\n"


def event(delta: dict[str, object], finish: str | None = None, end: str = "\n") -> bytes:
    choice = {"index": 0, "delta": delta} | ({"finish_reason": finish} if finish else {})
    return f"data: {json.dumps({'id': '1', 'choices': [choice]})}{end}{end}".encode()


A, B, C = (event({"content": text}) for text in (" a", " b", " sea"))
FINISH = event({}, "stop")
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12}}\n\n'
DONE = b"data: [DONE]\n\n"
GOOD = STREAM_HEAD + b"".join(frame(part) for part in (A, B, C, FINISH, USAGE, DONE)) + LAST


def one(handler: Handler, *, timeouts: Timeouts = FAST) -> RequestRecord:
    with serve(handler) as port:
        results, _ = run_calls(port, timeouts=timeouts)
    return results[0][0]


def test_a_good_stream() -> None:
    with serve(
        replies(
            STREAM_HEAD,
            0.05,
            *(frame(p) for p in (A, B)),
            0.02,
            frame(C),
            frame(FINISH),
            frame(USAGE),
            frame(DONE),
            LAST,
        )
    ) as port:
        results, health = run_calls(port)
    record, chunk_us = results[0]
    assert (record.outcome, record.error, record.status) == (Outcome.SUCCESS, "", 200)
    assert (record.chunks, len(chunk_us), record.finish_reason) == (3, 3, "stop")
    assert (record.prompt_tokens, record.completion_tokens, record.usage_source) == (9, 3, "usage")
    assert record.sent_ns is not None
    assert record.first_token_ns is not None
    assert record.last_token_ns is not None
    assert (
        record.intended_ns <= record.sent_ns < record.first_token_ns < record.last_token_ns <= record.end_ns
    )
    assert 45_000 < chunk_us[0] < 250_000
    assert 15_000 < chunk_us[2] < 200_000
    assert abs(sum(chunk_us) - (record.last_token_ns - record.sent_ns) / 1000) <= 1
    assert record.asked_output_tokens == 4
    assert record.request_bytes > 100
    assert record.response_bytes > len(STREAM_HEAD)
    assert not record.reused_connection
    assert (health.connections_opened, health.in_flight, health.chunks) == (1, 0, 3)


@LINUX
def test_kernel_stamps_tell_the_arrival_however_late_the_loop_reads() -> None:
    """A hub that is busy 12 ms at a time, chunks 20 ms apart: the lag is seen, and is in no chunk's time."""
    sent_ns: list[int] = []

    def handler(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(STREAM_HEAD)
        for _ in range(15):
            time.sleep(0.02)
            sent_ns.append(time.monotonic_ns())
            sock.sendall(frame(A))
        sock.sendall(frame(DONE) + LAST)

    with serve(handler) as port:
        loop = EngineLoop(Target("127.0.0.1", port), timeouts=FAST)
        results: list[tuple[RequestRecord, array[int]]] = []
        try:
            loop.submit(make_call(), lambda record, chunk_us: results.append((record, chunk_us)))
            with gevent.Timeout(5):
                while not results:
                    time.sleep(0.012)
                    gevent.sleep(0.001)
            health = loop.health()
        finally:
            loop.close()
    record, chunk_us = results[0]
    assert (record.outcome, record.chunks, record.user_stamps) == (Outcome.SUCCESS, 15, 0)
    assert record.sent_ns is not None
    start_ns = record.sent_ns + loop.t0_ns
    errors_us = [
        start_ns / 1000 + sum(chunk_us[: place + 1]) - stamp / 1000 for place, stamp in enumerate(sent_ns)
    ]
    assert -10 < sorted(errors_us)[7] < 500
    assert health.missing_stamps == 0
    assert health.kernel_stamps
    assert health.lag_p50_us is not None
    assert health.lag_p50_us > 1_500


def test_bytes_one_by_one() -> None:
    parts = [bytes((byte,)) for byte in GOOD]
    record = one(replies(*parts))
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
    record = one(replies(stream))
    assert (record.outcome, record.error, record.chunks) == (Outcome.SUCCESS, "", 3)


BODY = b'{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}],"usage":{"completion_tokens":1}}'
JSON_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


def test_a_whole_json_answer() -> None:
    record = one(replies(JSON_HEAD % len(BODY) + BODY[:20], 0.05, BODY[20:]))
    assert (record.outcome, record.chunks, record.completion_tokens) == (Outcome.SUCCESS, 1, 1)
    assert record.first_token_ns == record.last_token_ns == record.end_ns
    assert record.tpot_s is None
    assert record.service_ttft_s is not None
    assert record.service_ttft_s > 0.045


def error(status: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
        status,
        len(body),
        body,
    )


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
            replies(error(b"401 Unauthorized", b'{"code":"x","error":"No credentials"}')),
            Outcome.HTTP_4XX,
            "No cred",
        ),
        (
            replies(error(b"429 Too Many", b'{"error":{"message":"slow down"}}')),
            Outcome.HTTP_429,
            "slow down",
        ),
        (replies(error(b"503 Busy", b"upstream gone")), Outcome.HTTP_5XX, "upstream gone"),
        (replies(error(b"302 Found", b"")), Outcome.BAD_RESPONSE, "302"),
        (
            replies(STREAM_HEAD, frame(A), frame(b'event: error\ndata: {"message":"gone"}\n\n'), LAST),
            Outcome.STREAM_ERROR,
            "gone",
        ),
        (replies(error(b"200 OK", b"<html>hello</html>")), Outcome.BAD_RESPONSE, "neither JSON"),
        (replies(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{"), Outcome.STREAM_CUT, "ended inside"),
        (replies(STREAM_HEAD, frame(A[:20]), LAST), Outcome.STREAM_CUT, "inside an event"),
        (replies(STREAM_HEAD, frame(b"\xff\xfe garbage\n\n"), LAST), Outcome.BAD_RESPONSE, "event stream"),
    ],
)
def test_what_goes_wrong_has_its_outcome(handler: Handler, outcome: Outcome, word: str) -> None:
    record = one(handler)
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

    record = one(handler)
    assert (record.outcome, record.chunks, record.usage_source, record.completion_tokens) == (
        Outcome.STREAM_CUT,
        2,
        "counted",
        2,
    )
    assert "reset" in record.error.lower()


def test_a_trickle_is_ended_by_the_total_time() -> None:
    limits = Timeouts(connect_s=1, first_byte_s=1, idle_s=1, total_s=0.4)
    record = one(
        replies(STREAM_HEAD, *[part for _ in range(20) for part in (frame(A), 0.05)]), timeouts=limits
    )
    assert record.outcome is Outcome.STALLED
    assert "total" in record.error
    assert 4 <= record.chunks <= 12


def test_the_cap_queues_and_latency_counts_from_the_intended_time() -> None:
    with serve(replies(STREAM_HEAD, 0.1, GOOD.removeprefix(STREAM_HEAD), times=3)) as port:
        results, _ = run_calls(port, 3, at_once=1, timeouts=Timeouts())
    lags = [record.client_lag_s for record, _ in results]
    assert all(record.ok for record, _ in results)
    assert lags[0] is not None
    assert lags[2] is not None
    assert lags[0] < 0.09 < 0.18 < lags[2]
    third = results[2][0]
    assert third.ttft_s is not None
    assert third.ttft_s > 0.28


def test_abort_keeps_what_has_come_and_what_waits_is_unsent() -> None:
    with serve(replies(STREAM_HEAD, frame(A), frame(B), 0.5)) as port:
        loop = EngineLoop(Target("127.0.0.1", port), max_in_flight=2)
        results: list[RequestRecord] = []
        try:
            for place in range(5):
                loop.submit(make_call(place), lambda record, _: results.append(record))
            gevent.sleep(0.2)
            assert (loop.in_flight, loop.queued, results) == (2, 3, [])
            loop.abort_all()
            assert (loop.in_flight, loop.queued) == (0, 0)
        finally:
            loop.close()
    assert [record.outcome for record in results] == [Outcome.ABORTED] * 2 + [Outcome.UNSENT] * 3
    assert [record.chunks for record in results] == [2, 2, 0, 0, 0]
    assert [record.sent_ns is None for record in results] == [False, False, True, True, True]
    late: list[RequestRecord] = []
    loop.submit(make_call(9), lambda record, _: late.append(record))
    assert late == []
    gevent.sleep(0.01)
    assert [record.outcome for record in late] == [Outcome.UNSENT]


def test_done_never_comes_before_submit_returns() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        loop = EngineLoop(Target("127.0.0.1", closed.getsockname()[1]), timeouts=FAST)
        seen: list[RequestRecord] = []
        try:
            loop.submit(make_call(), lambda record, _: seen.append(record))
            assert seen == []
            gevent.sleep(0.05)
            assert [record.outcome for record in seen] == [Outcome.CONNECT_ERROR]
        finally:
            loop.close()


def test_an_early_refusal_of_a_large_request_is_read() -> None:
    """The server answers 413 and closes before it has read the prompt."""

    def handler(sock: socket.socket) -> None:
        sock.recv(1000)
        sock.sendall(error(b"413 Too Large", b'{"error":"too long"}'))
        sock.shutdown(socket.SHUT_WR)
        time.sleep(0.2)

    with serve(handler) as port:
        results, _ = run_calls(port, body=b"x" * 20_000_000)
    assert (results[0][0].outcome, results[0][0].error) == (Outcome.HTTP_4XX, "too long")


def test_a_large_request_goes_out_whole() -> None:
    sizes: list[int] = []

    def handler(sock: socket.socket) -> None:
        sizes.append(len(read_request(sock)[1]))
        sock.sendall(GOOD)

    with serve(handler) as port:
        results, _ = run_calls(port, body=b"x" * 5_000_000)
    assert results[0][0].ok
    assert sizes == [5_000_000]


KEY = "xai-topsecret0123456789topsecret0123456789"


def test_a_conversation_is_named_in_a_header_of_its_own() -> None:
    heads: list[bytes] = []

    def handler(sock: socket.socket) -> None:
        heads.append(read_request(sock)[0])
        sock.sendall(GOOD)

    with serve(handler) as port:
        for conv_id in ("", "7/agent/session/3", ""):
            assert run_calls(port, conv_id=conv_id)[0][0][0].ok
    assert [head.count(b"x-grok-conv-id") for head in heads] == [0, 1, 0]
    assert b"\r\nx-grok-conv-id: 7/agent/session/3\r\n" in heads[1]
    for wrong in ("a\r\nx-evil: 1", "é", "a\x00"):
        with pytest.raises(UsageError, match="conv_id"):
            Call(1, "c", None, 0, "m", 0, b"", conv_id=wrong)


def test_the_key_is_sent_and_seen_nowhere() -> None:
    heads: list[bytes] = []

    def handler(sock: socket.socket) -> None:
        heads.append(read_request(sock)[0])
        sock.sendall(error(b"400 Bad", json.dumps({"error": f"Incorrect API key provided: {KEY}"}).encode()))

    headers = {"Authorization": f"Bearer {KEY}", "X-Conv": "7"}
    with serve(handler) as port:
        target = Target.parse(f"http://127.0.0.1:{port}/base/v1")
        results, _ = run_calls(port, headers=headers, target=target)
        loop = EngineLoop(target, headers=headers)
        texts = [repr(loop), repr(target), repr(results), str(results[0][0].to_json()), repr(loop.health())]
        loop.close()
    assert heads[0].startswith(b"POST /base/v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:%d\r\n" % port)
    assert b"\r\nauthorization: Bearer " + KEY.encode() in heads[0]
    assert b"\r\nx-conv: 7" in heads[0]
    assert not [text for text in texts if "topsecret" in text]
    assert results[0][0].error.startswith("Incorrect API key provided: [redacted]")


@pytest.mark.parametrize(
    "headers",
    [{"authorization": "Bearer a\r\nx: y"}, {"host": "x"}, {"bad name": "x"}, {"authorization": "schlüssel"}],
)
def test_headers_that_cannot_be_sent_are_refused_without_their_value(headers: dict[str, str]) -> None:
    with pytest.raises(UsageError) as caught:
        EngineLoop(Target("127.0.0.1", 1), headers=headers)
    assert not any(value in str(caught.value) for value in headers.values() if value != "x")


def test_names_are_resolved_and_unknown_ones_refused() -> None:
    with serve(replies(GOOD)) as port:
        results, _ = run_calls(port, target=Target("localhost", port))
    assert results[0][0].ok
    for name in ("nowhere.invalid", "x" * 70 + ".y", "a..b"):
        with pytest.raises(OperationError, match=name[:20].replace(".", r"\.")):
            EngineLoop(Target(name, 80))


@pytest.mark.parametrize(
    "url",
    ["localhost:80", "ftp://x", "http://", "http://u:p@x", "http://x?q=1", "http://x:99999", "http://x/a b"],
)
def test_target_urls_that_are_refused(url: str) -> None:
    with pytest.raises(UsageError, match="target URL"):
        Target.parse(url)


def test_target_urls() -> None:
    assert Target.parse("http://h:81/") == Target("h", 81)
    assert Target.parse("https://api.x.ai/v1") == Target("api.x.ai", 443, tls=True)
    assert Target.parse("https://api.x.ai").authority == "api.x.ai"
    assert Target.parse("http://[::1]:8/p/v1/").authority == "[::1]:8"
    assert Target.parse("http://[::1]:8/p/v1/").prefix == "/p"


def test_limits_are_checked() -> None:
    with pytest.raises(UsageError, match="idle_s"):
        Timeouts(idle_s=0)
    with pytest.raises(UsageError, match="total_s"):
        Timeouts(total_s=5000)
    with pytest.raises(UsageError, match="max_in_flight"):
        EngineLoop(Target("127.0.0.1", 1), max_in_flight=0)


def test_many_streams_at_once() -> None:
    parts: list[bytes | float] = [STREAM_HEAD]
    for _ in range(20):
        parts += [frame(A), 0.005]
    with serve(replies(*parts, frame(FINISH), frame(DONE), LAST, times=2)) as port:
        results, health = run_calls(port, 120, at_once=60, timeouts=Timeouts())
    assert {record.outcome for record, _ in results} == {Outcome.SUCCESS}
    assert sorted(record.id for record, _ in results) == list(range(120))
    assert health.chunks == 120 * 20 == sum(len(chunk_us) for _, chunk_us in results)
    assert (health.in_flight, health.missing_stamps) == (0, 0)


def test_a_callback_that_raises_harms_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    with serve(replies(GOOD, times=3)) as port:
        loop = EngineLoop(Target("127.0.0.1", port), timeouts=FAST, max_in_flight=1)
        good: list[RequestRecord] = []

        def bad(record: RequestRecord, chunk_us: "array[int]") -> None:
            raise RuntimeError("a fault of the caller")

        try:
            loop.submit(make_call(0), bad)
            loop.submit(make_call(1), lambda record, _: good.append(record))
            with gevent.Timeout(5):
                while not good:
                    gevent.sleep(0.01)
        finally:
            loop.close()
    assert good[0].ok
    assert "a fault of the caller" in capsys.readouterr().err


@LINUX
def test_out_of_file_descriptors_is_an_outcome() -> None:
    import resource

    with serve(replies(GOOD)) as port:
        loop = EngineLoop(Target("127.0.0.1", port), timeouts=FAST)
        records: list[RequestRecord] = []
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        used = len(os.listdir("/proc/self/fd"))
        hoard: list[int] = []
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (used + 5, hard))
            with contextlib.suppress(OSError):
                while True:
                    hoard.append(os.dup(0))
            loop.submit(make_call(), lambda record, _: records.append(record))
            gevent.sleep(0.05)
        finally:
            for number in hoard:
                os.close(number)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            loop.close()
    assert records[0].outcome is Outcome.CONNECT_ERROR
    assert "ulimit" in records[0].error


PATCHED = """
from gevent import monkey
monkey.patch_all()
import sys, gevent
from servebench.meter.engine_loop import Call, EngineLoop, Target, Timeouts
target = Target(sys.argv[1], int(sys.argv[2]))
loop = EngineLoop(target, timeouts=Timeouts(first_byte_s=3, idle_s=3))
records = []
loop.submit(Call(0, "chat", None, 0, "m", 0, b"{}"), lambda record, chunk_us: records.append(record))
with gevent.Timeout(5):
    while not records:
        gevent.sleep(0.01)
print(records[0].outcome.value, records[0].chunks, records[0].user_stamps, loop.health().kernel_stamps)
loop.close()
"""


def test_it_works_in_a_patched_process() -> None:
    """Locust patches the standard library before anything else is imported."""
    with serve(replies(GOOD)) as port:
        command = [sys.executable, "-c", PATCHED, "localhost", str(port)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    stamped = "0 True" if sys.platform == "linux" else "3 False"
    assert (done.stdout.strip(), done.stderr) == (f"success 3 {stamped}", "")
