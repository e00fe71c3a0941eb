"""Connections: kept, closed, stale, never made; addresses that don't answer, and bodies in odd clothes."""

import socket
import threading
import time
from array import array

import gevent
import pytest

from servebench.meter.call import Target, Timeouts
from servebench.meter.engine_loop import EngineLoop
from servebench.meter.record import Outcome, RequestRecord
from tests.meter.servers import (
    FAST,
    STREAM_HEAD,
    Result,
    frame,
    make_call,
    read_request,
    replies,
    run_calls,
    serve,
)

CHUNK = b'data: {"choices":[{"index":0,"delta":{"content":" a"}}]}\n\n'
GOOD = STREAM_HEAD + frame(CHUNK) + frame(b"data: [DONE]\n\n") + b"0\r\n\r\n"


def stale(sock: socket.socket) -> None:
    """Reads the second request and closes without a byte, as a server does whose idle time is over."""
    read_request(sock)
    sock.sendall(GOOD)
    read_request(sock)


def test_no_server() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        results, health = run_calls(closed.getsockname()[1], 3)
    for record, chunk_us in results:
        assert record.outcome is Outcome.CONNECT_ERROR
        assert "refused" in record.error
        assert (record.sent_ns, record.status, len(chunk_us)) == (None, None, 0)
    assert health.connections_opened == 0


def test_a_server_that_never_accepts() -> None:
    """Its queue is full: the connection never stands."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(deaf.getsockname())
        limits = Timeouts(connect_s=0.3, first_byte_s=5, idle_s=5, total_s=5)
        results, _ = run_calls(deaf.getsockname()[1], timeouts=limits)
        for filler in fillers:
            filler.close()
    assert results[0][0].outcome is Outcome.CONNECT_ERROR
    assert "0.3 s" in results[0][0].error


def test_connections_are_kept_and_reused() -> None:
    with serve(replies(GOOD, times=5)) as port:
        results, health = run_calls(port, 5)
    assert [record.outcome for record, _ in results] == [Outcome.SUCCESS] * 5
    assert [record.reused_connection for record, _ in results] == [False, True, True, True, True]
    assert (health.connections_opened, health.connections_reused, health.stale_retries) == (1, 4, 0)


def test_connection_close_is_honoured() -> None:
    with serve(replies(GOOD.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))) as port:
        results, health = run_calls(port, 3)
    assert [record.ok for record, _ in results] == [True] * 3
    assert (health.connections_opened, health.connections_reused) == (3, 0)


def test_a_stale_connection_is_replaced_once() -> None:
    with serve(stale) as port:
        results, health = run_calls(port, 2)
    first, second = (record for record, _ in results)
    assert (first.ok, first.retries) == (True, 0)
    assert (second.ok, second.retries, second.reused_connection) == (True, 1, False)
    assert (health.stale_retries, health.connections_opened) == (1, 2)


def test_a_server_that_dies_on_every_request_is_not_asked_for_ever() -> None:
    seen: list[bytes] = []

    def handler(sock: socket.socket) -> None:
        seen.append(read_request(sock)[1])
        if len(seen) == 1:
            sock.sendall(GOOD)
            seen.append(read_request(sock)[1])

    with serve(handler) as port:
        results, _ = run_calls(port, 2)
    assert [record.outcome for record, _ in results] == [Outcome.SUCCESS, Outcome.STREAM_CUT]
    assert len(seen) == 3


def test_what_a_stale_connection_cost_is_not_taken_off_the_lag() -> None:
    """The first send stands, so the fresh connection was opened after it, not before."""

    with serve(stale) as port:
        results, health = run_calls(port, 2)
    second = results[1][0]
    assert (second.ok, second.retries, health.stale_retries) == (True, 1, 1)
    assert second.connect_ns is None
    assert second.client_lag_s is not None
    assert second.client_lag_s >= 0


def test_a_fresh_connection_for_a_stale_one_has_its_own_time_to_connect() -> None:
    """The server is gone for good: no accept, no refusal. The wait for an answer may be long, this not."""
    limits = Timeouts(connect_s=0.3, first_byte_s=30, idle_s=5, total_s=40)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        fillers = [socket.socket() for _ in range(4)]

        def once() -> None:
            sock, _ = listener.accept()
            with sock:
                read_request(sock)
                sock.sendall(GOOD)
                read_request(sock)
                for filler in fillers:
                    filler.setblocking(False)
                    filler.connect_ex(listener.getsockname())

        server = threading.Thread(target=once, daemon=True)
        server.start()
        begun_s = time.monotonic()
        results, _ = run_calls(listener.getsockname()[1], 2, timeouts=limits)
        took_s = time.monotonic() - begun_s
        server.join(5)
        for filler in fillers:
            filler.close()
    assert [record.outcome for record, _ in results] == [Outcome.SUCCESS, Outcome.CONNECT_ERROR]
    assert "0.3 s" in results[1][0].error
    assert took_s < 10


def test_an_address_that_does_not_answer_gives_way_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with an IPv6 address that leads nowhere beside a good IPv4 one."""
    with (
        serve(replies(GOOD, times=3)) as port,
        socket.create_server(("127.0.0.2", port), backlog=0) as deaf,
    ):
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(deaf.getsockname())
        limits = Timeouts(connect_s=1.0, first_byte_s=5, idle_s=5, total_s=10)
        both = [(socket.AF_INET, deaf.getsockname()), (socket.AF_INET, ("127.0.0.1", port))]
        monkeypatch.setattr(EngineLoop, "_resolve", lambda _: both)
        loop = EngineLoop(Target("127.0.0.1", port), timeouts=limits)
        results: list[RequestRecord] = []
        try:
            for place in range(2):
                loop.submit(make_call(place), lambda record, _: results.append(record))
                with gevent.Timeout(8):
                    while len(results) == place:
                        gevent.sleep(0.01)
        finally:
            loop.close()
            for filler in fillers:
                filler.close()
    assert [record.outcome for record in results] == [Outcome.SUCCESS] * 2
    assert results[0].connect_ns is not None
    assert results[0].connect_ns > 0.4e9, "the address that failed is part of what connecting took"


@pytest.mark.parametrize("status", [b"200 OK", b"503 Busy"])
def test_a_compressed_body_is_said_to_be_one(status: bytes) -> None:
    heads: list[bytes] = []

    def handler(sock: socket.socket) -> None:
        heads.append(read_request(sock)[0])
        sock.sendall(
            b"HTTP/1.1 %b\r\ncontent-type: text/event-stream\r\nContent-Encoding: GZip\r\n"
            b"content-length: 9\r\n\r\n\x1f\x8b\x08\x00junk\n" % status
        )

    with serve(handler) as port:
        results, _ = run_calls(port)
    assert b"\r\naccept-encoding: identity\r\n" in heads[0]
    record = results[0][0]
    assert record.outcome is (Outcome.BAD_RESPONSE if status[:1] == b"2" else Outcome.HTTP_5XX)
    assert "compressed (gzip)" in record.error


def test_identity_is_no_compression() -> None:
    plain = GOOD.replace(b"200 OK\r\n", b"200 OK\r\nContent-Encoding: identity\r\n")
    with serve(replies(plain)) as port:
        results, _ = run_calls(port)
    assert results[0][0].ok


def test_what_waits_for_the_cap_goes_in_order_also_against_a_caller_that_asks_again() -> None:
    with serve(replies(GOOD, times=9)) as port:
        loop = EngineLoop(Target("127.0.0.1", port), timeouts=FAST, max_in_flight=1)
        order: list[int] = []

        def done(record: RequestRecord, _: "array[int]") -> None:
            order.append(record.id)
            if record.id == 0:
                loop.submit(make_call(9), done)

        try:
            for place in range(4):
                loop.submit(make_call(place), done)
            with gevent.Timeout(5):
                while len(order) < 5:
                    gevent.sleep(0.01)
        finally:
            loop.close()
    assert order == [0, 1, 2, 3, 9]


def test_a_caller_that_raises_at_the_end_takes_no_record_from_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with serve(replies(STREAM_HEAD, 0.5)) as port:
        loop = EngineLoop(Target("127.0.0.1", port), max_in_flight=1)
        results: list[Result] = []

        def bad(record: RequestRecord, _: "array[int]") -> None:
            raise RuntimeError("a fault of the caller")

        for place, done in enumerate((bad, bad, lambda *one: results.append(one))):
            loop.submit(make_call(place), done)
        gevent.sleep(0.05)
        loop.close()
    assert [record.outcome for record, _ in results] == [Outcome.UNSENT]
    assert capsys.readouterr().err.count("RuntimeError: a fault of the caller") == 2


def test_a_thousand_idle_connections_are_dropped_in_no_time() -> None:
    """A server that restarts closes them all at once: none may cost a walk over all the others."""
    loop = EngineLoop(Target("127.0.0.1", 1))
    try:
        connections = [loop._connect() for _ in range(20_000)]
        loop._idle.update(dict.fromkeys(connections))
        begun_s = time.process_time()
        for connection in reversed(connections):
            loop.forget(connection)
        assert not loop._idle
        assert time.process_time() - begun_s < 0.5
    finally:
        loop.close()
