"""The short way: a calm stream is read by it, tells what the long way would, and leaves it for all else.

Real servers on loopback, whose chunks are 6 ms apart.
"""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from servebench.meter.connection import Connection
from servebench.meter.http1 import ResponseParser
from servebench.meter.record import Outcome, RequestRecord
from servebench.meter.stream import AnswerReader
from tests.meter.chat_stream import DONE, FINISH, LAST, USAGE, event
from tests.meter.servers import STREAM_HEAD, Handler, frame, read_request, run_calls, serve

GAP_S = 0.006
TEXTS = [f" word{place}" for place in range(30)]


def calm(*chunks: bytes, gap_s: float = GAP_S, times: int = 1) -> Handler:
    """One send for each chunk, gap_s apart at least; then the end."""

    def handler(sock: socket.socket) -> None:
        for _ in range(times):
            read_request(sock)
            sock.sendall(STREAM_HEAD)
            for chunk in chunks:
                time.sleep(gap_s)  # or longer, never shorter
                sock.sendall(chunk)
            sock.sendall(b"".join(frame(part) for part in (FINISH, USAGE, DONE)) + LAST)

    return handler


def words(*texts: str, key: str = "content") -> list[bytes]:
    return [frame(event({key: text})) for text in texts]


@pytest.fixture
def long_way(monkeypatch: pytest.MonkeyPatch) -> list[set[int]]:
    """For each answer, after how many chunks a read went the long way."""
    seen: list[set[int]] = []
    take, restart = Connection.take, Connection.restart

    def begun(self: Connection, parser: ResponseParser, answer: AnswerReader) -> None:
        seen.append(set())
        restart(self, parser, answer)

    def taken(self: Connection, data: bytes, ancillary: list[tuple[int, int, bytes]], now_ns: int) -> bool:
        times, more = self._times, take(self, data, ancillary, now_ns)
        seen[-1].add(len(times))
        return more

    monkeypatch.setattr(Connection, "restart", begun)
    monkeypatch.setattr(Connection, "take", taken)
    return seen


@contextmanager
def answered(handler: Handler, count: int = 1) -> Iterator[list[RequestRecord]]:
    with serve(handler) as port:
        results, health = run_calls(port, count)
        assert health.missing_stamps == 0
        yield [record for record, _ in results]


def test_a_calm_stream_goes_the_short_way_after_eight_gaps(long_way: list[set[int]]) -> None:
    with answered(calm(*words(*TEXTS))) as (record,):
        assert (record.outcome, record.chunks, record.coalesced) == (Outcome.SUCCESS, 30, 0)
    assert long_way[0] >= set(range(1, 9))
    assert len(long_way[0]) < 20  # a busy machine may read some late, and those go the long way, too
    assert record.response_bytes == sum(map(len, words(*TEXTS))) + len(STREAM_HEAD) + sum(
        len(frame(part)) for part in (FINISH, USAGE, DONE)
    ) + len(LAST)


def test_its_times_are_the_kernels() -> None:
    with serve(calm(*words(*TEXTS))) as port:
        results, _ = run_calls(port)
    record, chunk_us = results[0]
    assert record.user_stamps == 0
    assert len(chunk_us) == 30
    assert sum(chunk_us[1:]) / 1e6 > 29 * GAP_S * 0.95
    assert min(chunk_us[1:]) / 1e6 > GAP_S * 0.5


def test_reasoning_is_counted_as_such() -> None:
    with answered(calm(*words(*TEXTS, key="reasoning_content"))) as (record,):
        assert (record.chunks, record.reasoning_chunks) == (30, 30)
        assert record.first_visible_ns is None


ODD = {
    "another length": frame(event({"content": " w" * 60})),
    "a far longer one": frame(event({"content": " w" * 400})),
    "a short one": frame(event({"content": "a"})),
    "escaped": frame(event({"content": ' "quoted"\n'})),
    "beyond ASCII": frame(
        'data: {"id": "1", "choices": [{"index": 0, "delta": {"content": "né"}}]}\n\n'.encode()
    ),
    "of two choices": frame(
        b'data: {"id": "1", "choices": [{"delta": {"content": "a"}}, {"index": 1, "delta": {}}]}\n\n'
    ),
    "in upper-case digits": b"%X" % len(event({"content": " w"}))
    + b"\r\n"
    + event({"content": " w"})
    + b"\r\n",
    "with an extension": b"%x;a=b\r\n%b\r\n" % (len(event({"content": " w"})), event({"content": " w"})),
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
def test_an_odd_chunk_among_them_counts_like_the_others(odd: bytes) -> None:
    with answered(calm(*words(*TEXTS[:20]), odd, *words(*TEXTS[20:]))) as (record,):
        assert (record.outcome, record.chunks) == (Outcome.SUCCESS, 31)


@pytest.mark.parametrize("size", [300, 4000, 4100, 9000])
def test_large_chunks_come_whole(size: int) -> None:
    texts = [" w" * (size // 2) + text for text in TEXTS]
    with answered(calm(*words(*texts))) as (record,):
        assert (record.outcome, record.chunks, record.coalesced) == (Outcome.SUCCESS, 30, 0)


def test_large_chunks_may_go_the_short_way(long_way: list[set[int]]) -> None:
    with answered(calm(*words(*(" w" * 1500 + text for text in TEXTS)))) as (record,):
        assert record.chunks == 30
    assert len(long_way[0]) < 20


def test_a_comment_among_them_is_no_chunk() -> None:
    with answered(calm(*words(*TEXTS[:20]), frame(b": ping\n\n"), *words(*TEXTS[20:]))) as (record,):
        assert (record.outcome, record.chunks) == (Outcome.SUCCESS, 30)


def test_two_chunks_at_once_are_two() -> None:
    chunks = words(*TEXTS)
    with answered(calm(*chunks[:20], chunks[20] + chunks[21], *chunks[22:])) as (record,):
        assert (record.outcome, record.chunks) == (Outcome.SUCCESS, 30)


@pytest.mark.parametrize(
    ("bad", "outcome"),
    [
        (b"zz\r\nnonsense", Outcome.BAD_RESPONSE),
        (frame(b'data: {"error": {"message": "out of memory"}}\n\n'), Outcome.STREAM_ERROR),
        (frame(b"data: {broken\n\n"), Outcome.BAD_RESPONSE),
    ],
)
def test_what_is_wrong_in_mid_stream_is_seen(bad: bytes, outcome: Outcome) -> None:
    with answered(calm(*words(*TEXTS[:20]), bad, *words(*TEXTS[20:]))) as (record,):
        assert record.outcome is outcome


def test_a_stream_that_is_cut_in_mid_frame() -> None:
    def handler(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(STREAM_HEAD)
        for chunk in words(*TEXTS[:20]):
            time.sleep(GAP_S)
            sock.sendall(chunk)
        sock.sendall(words(" end")[0][:20])

    with answered(handler) as (record,):
        assert (record.outcome, record.chunks) == (Outcome.STREAM_CUT, 20)


def test_a_stream_that_stalls_is_ended_by_the_time_of_its_last_chunk() -> None:
    def handler(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(STREAM_HEAD)
        for chunk in words(*TEXTS * 3):  # longer in all than the limit between two reads
            time.sleep(GAP_S)
            sock.sendall(chunk)
        time.sleep(1)

    with answered(handler) as (record,):
        assert (record.outcome, record.chunks) == (Outcome.STALLED, 90)


def test_later_answers_are_presumed_calm_from_their_first_chunk(long_way: list[set[int]]) -> None:
    with answered(calm(*words(*TEXTS[:12]), times=18), 18) as records:
        assert {record.outcome for record in records} == {Outcome.SUCCESS}
        assert {record.chunks for record in records} == {12}
    assert sum(5 in chunks for chunks in long_way) < 18  # of the first sixteen, and of what was read late
