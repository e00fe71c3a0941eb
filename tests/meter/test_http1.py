"""Responses under any split of the bytes, and the read sizes that keep frames apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servebench.meter.http1 import LEAST_FRAME, ResponseParser

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def frame(data: bytes, extension: bytes = b"") -> bytes:
    return b"%x%b\r\n%b\r\n" % (len(data), extension, data)


def feed_all(stream: bytes, *cuts: int, eof: bool = False) -> tuple[ResponseParser, list[bytes]]:
    parser, pieces, start = ResponseParser(), [], 0
    for cut in (*sorted(cuts), len(stream)):
        pieces += parser.feed(stream[start:cut])
        start = cut
    if eof:
        parser.feed_eof()
    return parser, pieces


class Wire:
    """A receive queue: a read takes at most n bytes and tells the last segment it touched, as the kernel's
    stamp does.
    """

    def __init__(self, segments: list[bytes]) -> None:
        self.segments = list(enumerate(segments))

    def read(self, n: int) -> tuple[bytes, int]:
        data, stamp = b"", -1
        while self.segments and len(data) < n:
            stamp, segment = self.segments.pop(0)
            take = n - len(data)
            data += segment[:take]
            if segment[take:]:
                self.segments.insert(0, (stamp, segment[take:]))
        return data, stamp


WHOLE = [
    HEAD + frame(b"data: a\n\n") + frame(b"b" * 300) + b"0\r\n\r\n",
    HEAD
    + frame(b"abc", b";name=value;x")
    + frame(b"d", b" ;q")
    + b"0;last\r\nX-Trailer: yes\r\nY: z\r\n\r\n",
    HEAD + b"00000A\r\n0123456789\r\n" + frame(b"x" * 40000) + frame(b"y" * 5000) + b"0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n"
    b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
]
BODIES = [
    b"data: a\n\n" + b"b" * 300,
    b"abcd",
    b"0123456789" + b"x" * 40000 + b"y" * 5000,
    b"hello",
    b"",
    b"",
    b"ok",
]


@pytest.mark.parametrize(("stream", "body"), list(zip(WHOLE, BODIES, strict=True)))
def test_whole_responses_split_at_every_position(stream: bytes, body: bytes) -> None:
    step = 1 if len(stream) < 2000 else 977
    for cut in range(0, len(stream), step):
        parser, pieces = feed_all(stream, cut)
        assert (b"".join(pieces), parser.ended, parser.error) == (body, True, ""), cut
        assert parser.keep_alive
        assert b"" not in pieces
    if len(stream) < 2000:
        parser, pieces = feed_all(stream, *range(len(stream)))
        assert (b"".join(pieces), parser.ended, parser.error) == (body, True, "")


@given(st.lists(st.binary(min_size=1, max_size=70), max_size=12), st.lists(st.integers(1, 900), max_size=12))
def test_each_frame_is_one_piece_under_any_split(payloads: list[bytes], cuts: list[int]) -> None:
    stream = HEAD + b"".join(frame(payload) for payload in payloads) + b"0\r\n\r\n"
    parser, pieces = feed_all(stream, *(cut for cut in cuts if cut < len(stream)))
    assert pieces == payloads
    assert parser.ended
    assert parser.keep_alive
    assert parser.status == 200
    assert parser.framed


@given(st.lists(st.binary(min_size=8, max_size=30), min_size=2, max_size=40), st.integers(0, 2))
def test_reads_of_the_wanted_size_touch_one_frame_each(words: list[bytes], lump: int) -> None:
    """All segments are queued, as after a stall: each frame is completed by a read that touched no later
    segment.

    The first frame is the smallest of all: a later one below the floor can share a read, and is counted so.
    """
    words = [min(words, key=len), *words]
    payloads = [b"data: " + b"p" * 200 + word + b"\n\n" for word in words]
    head_segments = [HEAD + frame(payloads[0])] if lump == 0 else [HEAD, frame(payloads[0])]
    wire = Wire([*head_segments, *(frame(payload) for payload in payloads[1:])])
    parser, stamps = ResponseParser(), []
    while wire.segments:
        data, stamp = wire.read(parser.want)
        pieces = parser.feed(data)
        assert len(pieces) <= 1
        stamps += [stamp] * len(pieces)
    first = 0 if lump == 0 else 1
    assert stamps == list(range(first, first + len(payloads)))


def test_a_small_frame_does_not_slow_the_stream_for_ever() -> None:
    parser = ResponseParser()
    parser.feed(HEAD + frame(b"x" * 250) + frame(b": ping\n\n"))
    small = parser.want
    for _ in range(100):
        parser.feed(frame(b"x" * 250))
    assert small < 20
    assert parser.want > 200


def test_size_line_split_from_its_data() -> None:
    parser = ResponseParser()
    parser.feed(HEAD)
    assert parser.feed(b"1") == []
    assert parser.want == LEAST_FRAME
    assert parser.feed(b"0\r\n") == []
    assert parser.inside
    assert parser.want == 18
    assert parser.feed(b"0123456789abcdef\r\n") == [b"0123456789abcdef"]
    assert not parser.inside


@pytest.mark.parametrize(
    ("stream", "word"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not HTTP"),
        (b"HTTP/2 200\r\n\r\n", "status line"),
        (b"HTTP/1.1 2x0 OK\r\n\r\n", "status line"),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "header"),
        (b"HTTP/1.1 200 OK\r\nbad name: x\r\n\r\n", "header"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n", "content-length"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5, 6\r\n\r\n", "content-length"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n", "transfer coding"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 1\r\n\r\n", "both"),
        (b"HTTP/1.1 101 Switching\r\n\r\n", "protocols"),
        (HEAD + b"zz\r\nabc\r\n", "hexadecimal"),
        (HEAD + b"-1\r\nabc\r\n", "hexadecimal"),
        (HEAD + b"0x3\r\nabc\r\n", "hexadecimal"),
        (HEAD + b"1_0\r\nabc\r\n", "hexadecimal"),
        (HEAD + b"fffffffff\r\nabc\r\n", "hexadecimal"),
        (HEAD + b"3\r\nabcde\r\n", "where its size says"),
        (HEAD + b"3\r\nab\r\n3\r\nabc\r\n", "where its size says"),
        (HEAD + b"0\r\nbroken trailer\r\n\r\n", "trailer"),
    ],
)
def test_faults_are_data(stream: bytes, word: str) -> None:
    for cuts in ((), range(len(stream))):
        parser, _ = feed_all(stream, *cuts)
        assert word in parser.error
        assert parser.ended
        assert not parser.keep_alive
        assert parser.feed(b"more") == []


def test_eof_cuts_all_but_a_close_delimited_body() -> None:
    for stream in WHOLE:
        for cut in range(1, len(stream), max(1, len(stream) // 50)):
            parser, _ = feed_all(stream[:cut], eof=True)
            assert "ended inside" in parser.error, cut
    parser, pieces = feed_all(b"HTTP/1.0 200 OK\r\n\r\nuntil the end", eof=True)
    assert (b"".join(pieces), parser.error, parser.ended, parser.keep_alive) == (
        b"until the end",
        "",
        True,
        False,
    )


@pytest.mark.parametrize(
    ("head", "keep"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0", True),
        (b"HTTP/1.1 200 OK\r\nConnection: Close\r\ncontent-length: 0", False),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 0", False),
        (b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 0", True),
    ],
)
def test_keep_alive(head: bytes, keep: bool) -> None:
    assert feed_all(head + b"\r\n\r\n")[0].keep_alive is keep


def test_folded_and_repeated_headers() -> None:
    parser, _ = feed_all(b"HTTP/1.1 200 OK\r\nX-A: one\r\n\t two\r\nx-a: three\r\nX-B:\r\n four\r\n\r\n")
    assert parser.headers == {"x-a": "one two, three", "x-b": "four"}
    assert feed_all(b"HTTP/1.1 200 OK\r\n folded: nowhere\r\n\r\n")[0].error == "a header line is malformed"


def test_bytes_after_the_message_end_the_keep_alive_only() -> None:
    parser, pieces = feed_all(HEAD + frame(b"a") + b"0\r\n\r\nHTTP/1.1 200 OK")
    assert (pieces, parser.error, parser.ended, parser.keep_alive) == ([b"a"], "", True, False)


def test_untouched_until_the_first_byte() -> None:
    parser = ResponseParser()
    assert parser.untouched
    parser.feed(b"H")
    assert not parser.untouched
