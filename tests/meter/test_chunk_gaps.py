"""The gaps between chunks as they are kept: exact in sum, never negative, shared stamps counted."""

from servebench.meter.stream import AnswerReader
from tests.meter.chunks import DONE, FINISH, SSE, content, read


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
