"""A client that was kept from its core reads what waits together, and loses nothing by it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import gevent
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servebench.meter.connection import Connection
from servebench.meter.http1 import ResponseParser
from servebench.meter.record import Outcome
from servebench.meter.stream import AnswerReader
from servebench.meter.template import whole_chunks
from tests.meter.chat_stream import DONE, FINISH, LAST, USAGE, event
from tests.meter.servers import STREAM_HEAD, frame, run_calls, serve
from tests.meter.test_steady import calm, words

TEXTS = [f" word{place}" for place in range(60)]


@contextmanager
def kept_from_its_core() -> Iterator[None]:
    """Every 0.1 s the loop stands still for 50 ms: eight chunks or so."""

    def thief() -> None:
        while True:
            gevent.sleep(0.1)
            time.sleep(0.05)

    taking = gevent.spawn(thief)
    try:
        yield
    finally:
        taking.kill()


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many chunks each late read took."""
    taken: list[int] = []
    catch_up = Connection._catch_up

    def counted(self: Connection, now_ns: int) -> None:
        times, before = self._times, len(self._times)
        catch_up(self, now_ns)
        taken.append(len(times) - before)

    monkeypatch.setattr(Connection, "_catch_up", counted)
    return taken


@pytest.mark.parametrize(("key", "reasoning"), [("content", 0), ("reasoning_content", 60)])
def test_all_is_counted_and_said_to_be_coalesced(key: str, reasoning: int, together: list[int]) -> None:
    chunks = words(*TEXTS, key=key)
    with kept_from_its_core(), serve(calm(*chunks)) as port:
        ((record, chunk_us),), health = run_calls(port)
    assert (record.outcome, record.chunks, record.reasoning_chunks) == (Outcome.SUCCESS, 60, reasoning)
    assert len(chunk_us) == 60
    assert min(chunk_us[1:]) >= 0
    assert health.missing_stamps == 0
    assert max(together) > 1
    assert record.coalesced >= max(together) - 1
    rest = sum(len(frame(part)) for part in (FINISH, USAGE, DONE)) + len(STREAM_HEAD) + len(LAST)
    assert record.response_bytes == sum(map(len, chunks)) + rest


@pytest.mark.parametrize(
    ("odd", "outcome", "chunks"),
    [
        (b": ping\n\n", Outcome.SUCCESS, 60),
        (event({"content": ' "\n'}), Outcome.SUCCESS, 80),
        (b"data: nonsense\n\n", Outcome.BAD_RESPONSE, 60),
    ],
)
def test_what_is_no_common_chunk_is_parsed_though_it_is_late(
    odd: bytes, outcome: Outcome, chunks: int, together: list[int]
) -> None:
    sent: list[bytes] = []
    for place, chunk in enumerate(words(*TEXTS)):
        sent += [chunk, frame(odd)] if place % 3 == 2 else [chunk]
    with kept_from_its_core(), serve(calm(*sent)) as port:
        ((record, _),), _ = run_calls(port)
    assert (record.outcome, record.chunks) == (outcome, chunks)
    assert together


A = event({"content": " a"})
WHOLE = [frame(A.replace(b" a", text.encode())) for text in (" a", " naïve", " two words", "x" * 300)]
ODD = [
    frame(event({"content": ""})),
    frame(event({"content": ' "quoted"'})),
    frame(event({"reasoning_content": " a"})),
    frame(b": ping\n\n"),
    frame(DONE),
    LAST,
    b"0" + WHOLE[0],
    WHOLE[1][:-1],
    WHOLE[1][3:],
    frame(A * 2),
]
LEAD, TAIL = (part for part in WHOLE[0][WHOLE[0].index(b"\r\n") :].split(b" a", 1))


@given(st.lists(st.sampled_from(WHOLE), max_size=8))
def test_frames_of_one_template_are_told_by_their_number(frames: list[bytes]) -> None:
    assert whole_chunks(b"".join(frames), LEAD, TAIL) == len(frames)


@given(st.lists(st.sampled_from(WHOLE), max_size=4), st.sampled_from(ODD), st.lists(st.sampled_from(WHOLE)))
def test_anything_else_among_them_is_none(before: list[bytes], odd: bytes, after: list[bytes]) -> None:
    assert whole_chunks(b"".join([*before, odd, *after]), LEAD, TAIL) == 0


@given(st.lists(st.sampled_from([*WHOLE, *ODD]), min_size=1, max_size=5), st.data())
def test_the_parser_would_count_as_many(frames: list[bytes], data: st.DataObject) -> None:
    whole = bytearray(b"".join(frames))
    for _ in range(data.draw(st.integers(0, 2))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    count = whole_chunks(bytes(whole), LEAD, TAIL)
    if count:
        parser, answer = ResponseParser(), AnswerReader()
        parser.feed(STREAM_HEAD)
        answer.begin(200, "text/event-stream", framed=True)
        for piece in parser.feed(bytes(whole)):
            answer.feed(piece, 1)
        assert (len(answer.times), answer.bad, answer.error) == (count, "", "")
