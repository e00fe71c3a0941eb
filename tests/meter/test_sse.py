"""The event-stream rules: each by an example of the standard, and one law: where the bytes are split never
matters.
"""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servebench.meter.sse import MAX_EVENT, Event, EventParser


def parse(stream: bytes, *cuts: int) -> list[Event]:
    parser, events, start = EventParser(), [], 0
    for cut in (*sorted(cuts), len(stream)):
        events += parser.feed(stream[start:cut])
        start = cut
    return events


def by_the_book(stream: bytes) -> list[Event]:
    """The standard's steps, plainly, on the whole stream."""
    text = stream.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    events, data, name, has_data = [], b"", b"", False
    for line in text.split(b"\n")[:-1]:
        if line == b"":
            if has_data:
                events.append(Event(data[:-1], name))
            data, name, has_data = b"", b"", False
            continue
        field, colon, value = line.partition(b":")
        value = value[1:] if colon and value[:1] == b" " else value
        if field == b"data":
            data, has_data = data + value + b"\n", True
        elif field == b"event":
            name = value
    return events


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\n", [Event(b"a")]),
        (b"data: a\r\n\r\n", [Event(b"a")]),
        (b"data: a\r\rdata: b\r\r", [Event(b"a"), Event(b"b")]),
        (b"data: YHOO\ndata: +2\ndata: 10\n\n", [Event(b"YHOO\n+2\n10")]),
        (b"data\n\ndata\ndata\n\ndata:", [Event(b""), Event(b"\n")]),
        (b"data:test\n\ndata: test\n\n", [Event(b"test"), Event(b"test")]),
        (b"data:  two spaces\n\n", [Event(b" two spaces")]),
        (b": a comment\n\ndata: a\n: another\n\n", [Event(b"a")]),
        (b"event: error\ndata: {}\n\ndata: x\n\n", [Event(b"{}", b"error"), Event(b"x")]),
        (b"event: lost\n\ndata: x\n\n", [Event(b"x")]),
        (b"\xef\xbb\xbfdata: bom\n\n", [Event(b"bom")]),
        (b"id: 1\nretry: 5\nunknown: 3\ndata: a\n\n", [Event(b"a")]),
        (b"data: cut off by the end", []),
        (b"data: a\n\n\n\n\n", [Event(b"a")]),
        ("data: grüße 👋\n\n".encode(), [Event("grüße 👋".encode())]),
    ],
)
def test_rules(stream: bytes, events: list[Event]) -> None:
    assert parse(stream) == events
    for cut in range(len(stream) + 1):
        assert parse(stream, cut) == events, cut
    assert parse(stream, *range(len(stream))) == events


_PIECES = st.sampled_from(
    [
        b"data",
        b":",
        b" ",
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b"event: e",
        b"data: x",
        "é👋".encode(),
        b"\xff",
        b":c",
    ]
)


@given(st.lists(_PIECES, max_size=40), st.booleans(), st.lists(st.integers(0, 200), max_size=8))
def test_any_split_gives_the_same_events(pieces: list[bytes], bom: bool, cuts: list[int]) -> None:
    stream = (b"\xef\xbb\xbf" if bom else b"") + b"".join(pieces)
    # an open line is nothing yet, by both readings
    expected = by_the_book(stream)
    assert parse(stream) == expected
    assert parse(stream, *(cut for cut in cuts if cut < len(stream))) == expected
    assert parse(stream, *range(len(stream))) == expected


def test_boundary_and_unfinished() -> None:
    parser = EventParser()
    states = []
    for part in (b"", b"data: a\n\n", b"data: b", b"\n", b"\n", b"junk"):
        parser.feed(part)
        states.append((parser.at_boundary, parser.unfinished, parser.noise))
    assert states == [
        (True, False, False),
        (True, False, False),
        (False, True, False),
        (False, True, False),
        (True, False, False),
        (False, True, True),
    ]


def test_an_endless_event_is_given_up() -> None:
    parser = EventParser()
    for _ in range(MAX_EVENT // 65536 + 2):
        assert parser.feed(b"data: " + b"x" * 65536 + b"\n") == []
    assert parser.oversize
    assert parser.feed(b"\ndata: a\n\n") == []


def test_a_line_without_end_costs_no_more_than_its_bytes() -> None:
    """64 bytes at a time, as a body of unknown framing is read."""
    parser, piece = EventParser(), b"x" * 64
    begun_s = time.process_time()
    parser.feed(b"data: ")
    while not parser.oversize:
        parser.feed(piece)
    assert time.process_time() - begun_s < 5.0, "a copy of all that is held for each piece takes minutes"
    for end in ((b"\n", b"\n"), (b"\r", b"\n\r\n"), (b"\r\n\r", b"\n")):
        parser = EventParser()
        events = [event for part in (b"data: ", *[piece] * 999, *end) for event in parser.feed(part)]
        assert events == [Event(piece * 999)]
