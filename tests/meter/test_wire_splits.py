"""One law for all of the reading side: where the bytes of an answer are split never changes what it was."""

from array import array
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from servebench.meter.call import Call
from servebench.meter.ending import Ending
from servebench.meter.exchange import Exchange
from servebench.meter.record import Outcome, RequestRecord

_EVENTS = st.lists(
    st.sampled_from(
        [
            b'data: {"choices":[{"index":0,"delta":{"content":" a"}}]}',
            b'data:{"choices":[{"index":0,"delta":{"content":" b\\n"}}]}',
            'data: {"choices":[{"index":0,"delta":{"content":"grüße 👋"}}]}'.encode(),
            b'data: {"choices":[{"index":0,\ndata: "delta":{"reasoning_content":"hm"}}]}',
            b'data: {"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}}]}',
            b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}',
            b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12}}',
            b": ping",
            b"event: error\ndata: gone",
            b"data: {nonsense",
            b"data: [DONE]",
        ]
    ),
    max_size=8,
)
_ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
_FRAMINGS = st.sampled_from(["chunked", "length", "eof"])


def wire(events: list[bytes], end: bytes, framing: str, *, bom: bool, together: int) -> bytes:
    """The whole answer. together: so many events in one chunk frame."""
    texts = [b"".join(line + end for line in event.split(b"\n")) + end for event in events]
    if bom:
        texts = [b"\xef\xbb\xbf", *texts]
    kind = b"HTTP/1.1 200 OK\r\nCONTENT-TYPE: Text/Event-Stream; charset=utf-8\r\n"
    body = b"".join(texts)
    if framing == "length":
        return kind + b"content-length:%d\r\n\r\n" % len(body) + body
    if framing == "eof":
        return kind + b"connection: close\r\n\r\n" + body
    groups = [b"".join(texts[n : n + together]) for n in range(0, len(texts), together)]
    frames = b"".join(b"%X;q=1\r\n%b\r\n" % (len(group), group) for group in groups)
    early = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
    return early + kind + b"transfer-encoding:  Chunked\r\n\r\n" + frames + b"0\r\nx-trailer: y\r\n\r\n"


def read(stream: bytes, cuts: list[int]) -> tuple[RequestRecord, "array[int]"]:
    call = Call(1, "chat", None, 0, "m", 0, b"{}")
    exchange = Exchange(call, lambda *_: None, now_ns=0, secrets=())
    start = 0
    for cut in (*sorted(cut for cut in cuts if cut < len(stream)), len(stream)):
        pieces = exchange.parser.feed(stream[start:cut])
        if not exchange.begun and exchange.parser.status:
            exchange.begin_answer()
        for piece in pieces:
            exchange.answer.feed(piece, 1_000_000)
        start = cut
    if not exchange.parser.ended:
        exchange.parser.feed_eof()
    ending = Ending.CUT if exchange.parser.error else Ending.COMPLETE
    return exchange.record(ending, "", end_ns=5, t0_ns=0, response_bytes=len(stream))


@given(_EVENTS, _ENDS, _FRAMINGS, st.booleans(), st.integers(1, 3), st.lists(st.integers(1, 900), max_size=9))
def test_any_split_of_the_wire_gives_the_same_record(
    events: list[bytes], end: bytes, framing: str, bom: bool, together: int, cuts: list[int]
) -> None:
    stream = wire(events, end, framing, bom=bom, together=together)
    whole, times = read(stream, [])
    assert whole.outcome is not Outcome.STREAM_CUT
    for some in (cuts, list(range(1, len(stream)))):
        split, split_times = read(stream, some)
        # which chunks of one frame a read tore apart is the reader's affair
        assert replace(split, coalesced=0) == replace(whole, coalesced=0)
        assert split_times == times


@given(_EVENTS, _ENDS, _FRAMINGS, st.data())
def test_what_is_cut_off_is_never_a_success_without_its_end(
    events: list[bytes], end: bytes, framing: str, data: st.DataObject
) -> None:
    stream = wire(events, end, framing, bom=False, together=1)
    cut = data.draw(st.integers(0, len(stream) - 1))
    record, _ = read(stream[:cut], [])
    if record.ok:
        said = stream[:cut]
        assert b"[DONE]" in said or (framing == "eof" and b"finish_reason" in said)
