"""Whole chunk frames of a template, checked in one go: just what the two parsers would have made of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servebench.meter.http1 import ResponseParser
from servebench.meter.stream import AnswerReader
from tests.meter.chunks import DONE, FINISH, SSE, chunk, content, event

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
PIECES = st.lists(
    st.one_of(
        st.text(min_size=1, max_size=300).map(content),
        st.text(alphabet=st.characters(max_codepoint=126), min_size=1, max_size=20).map(content),
        st.text(min_size=1, max_size=5).map(lambda text: event(chunk({"reasoning_content": text}))),
        st.sampled_from([b": ping\n\n", FINISH, content("a") + content("b"), content("")]),
    ),
    max_size=30,
)


def frame(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def facts(reader: AnswerReader) -> tuple[object, ...]:
    return (
        list(reader.times), reader.reasoning_chunks, reader.first_visible_ns, reader.finish_reason,
        reader.done_marker, reader.error, reader.bad,
    )  # fmt: skip


def read(frames: list[bytes], *, short: bool) -> tuple[AnswerReader, ResponseParser, int]:
    """What a connection makes of them that reads a frame at a time, by the short way (short) where it may;
    and how many went by it."""
    parser, reader, taken = ResponseParser(), AnswerReader(), 0
    parser.feed(HEAD)
    reader.begin(200, SSE, framed=True)
    for at_ns, data in enumerate(frames):
        if short and parser.rested and reader.feed_frame(data, at_ns):
            parser.passed(len(data))
            taken += 1
            continue
        for piece in parser.feed(data):
            reader.feed(piece, at_ns)
    return reader, parser, taken


@given(PIECES)
def test_the_short_way_comes_to_the_same(pieces: list[bytes]) -> None:
    frames = [frame(piece) for piece in [*pieces, FINISH, DONE]]
    (short, short_parser, _), (long, parser, _) = read(frames, short=True), read(frames, short=False)
    assert facts(short) == facts(long)
    assert (short_parser.want, short_parser.roomy) == (parser.want, parser.roomy)
    assert (short_parser.ended, short_parser.error) == (parser.ended, parser.error)


def test_most_frames_of_a_stream_go_the_short_way() -> None:
    frames = [frame(content(f" word{i % 7}")) for i in range(50)]
    reader, _, taken = read(frames, short=True)
    assert len(reader.times) == 50
    assert taken >= 48


GOOD = frame(content(" there"))
MARK = GOOD.index(b"\r\n")


@pytest.mark.parametrize(
    "bad",
    [
        GOOD[:-2],  # its end is missing
        GOOD[:-1] + b"\r",
        b"%x" % (len(content(" there")) + 1) + GOOD[MARK:],  # another size than it has
        b"%x" % (len(content(" there")) - 1) + GOOD[MARK:],
        b"0" + GOOD,
        b"g" + GOOD[1:],
        GOOD + GOOD,  # two of them
        frame(content("")),  # no token
        frame(content(" there").replace(b"there", b'the"re')),
        frame(content(" there").replace(b"there", b"the\\u0041")),  # escaped: parsed
        frame(content(" there").replace(b"there", b"the\xffre")),  # no UTF-8
        frame(content(" there").replace(b"there", b"the\nre")),
    ],
)
def test_what_is_not_just_one_frame_of_the_kind_is_left_to_the_parsers(bad: bytes) -> None:
    reader, _, _ = read([GOOD, GOOD], short=True)
    assert reader.feed_frame(GOOD, 7)
    counted = len(reader.times)
    assert not reader.feed_frame(bad, 8)
    assert len(reader.times) == counted
