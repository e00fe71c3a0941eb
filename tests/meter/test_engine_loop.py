"""The loop itself, against real servers: stamps, the cap, a run's end, callbacks, many streams at once."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from array import array

import gevent
import pytest

from servebench.errors import UsageError
from servebench.meter.call import Target, Timeouts
from servebench.meter.engine_loop import EngineLoop
from servebench.meter.record import Outcome, RequestRecord
from tests.meter.chat_stream import DONE, FINISH, GOOD, LAST, USAGE, A, B, C
from tests.meter.servers import (
    FAST,
    STREAM_HEAD,
    frame,
    make_call,
    read_request,
    replies,
    run_calls,
    serve,
)

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="kernel receive timestamps are Linux's")


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
