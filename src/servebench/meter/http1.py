"""HTTP/1.1 responses, parsed as the bytes come: no I/O, no clock, any split of the bytes (RFC 9112).

`feed` returns the body in pieces: one per chunk frame (a frame is a TCP write of nearly every server), so
that each piece can carry its own arrival time. `want` says how many bytes the next read may take so as not to
go past the current frame: a read that touches the next segment would take over that segment's kernel stamp.
Faults are data: `error` is a sentence, and nothing more is parsed.
"""

from typing import Final

from servebench.meter.framing import FrameFloor
from servebench.meter.http_lines import (
    HEX_DIGITS,
    SIZES,
    read_chunk_size,
    read_headers,
    read_length,
    read_status,
)

HEAD_READ: Final = 256  # a head costs a few reads; past it at most part of a first frame is taken along
BULK_READ: Final = 65536
UNFRAMED_READ: Final = 64  # lines of unknown length: short reads keep events apart
MAX_HEAD: Final = 65536
MAX_HELD_FRAME: Final = 32768  # larger frames are handed on as they come
LEAST_FRAME: Final = 6  # "1\r\nx\r\n"

_HEAD, _FRAME, _INSIDE, _TRAILER, _LENGTH, _TO_EOF, _DONE, _FAILED = range(8)


class ResponseParser:
    """One response to one request other than HEAD.

    status: 0 until the head is there. headers: lower-case names, repeated ones joined by ", ". framed:
    whether the body comes in chunk frames. done: the message is whole; keep_alive: whether the connection may
    be used again.
    """

    __slots__ = (
        "_floor",
        "_held",
        "_interim",
        "_left",
        "_state",
        "ended",
        "error",
        "framed",
        "headers",
        "keep_alive",
        "status",
        "want",
    )

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.error = ""
        self.ended = False
        self.framed = False
        self.keep_alive = False
        self.want = HEAD_READ
        self._held = b""
        self._interim = False
        self._state = _HEAD
        self._left = 0
        self._floor = FrameFloor()

    @property
    def untouched(self) -> bool:
        """Whether nothing of a response has come yet."""
        return self._state == _HEAD and not self._held and not self._interim

    @property
    def inside(self) -> bool:
        """Whether part of a frame is here and the rest surely follows: worth another read at once."""
        return bool(self._held) and self._state == _FRAME

    @property
    def between_frames(self) -> bool:
        """Whether the next byte begins a chunk frame; `want` is the smallest of late then."""
        return self._state == _FRAME and not self._held

    def feed(self, data: bytes) -> list[bytes]:
        """The pieces of body that data completes, none empty. Bytes after the message end the keep-alive."""
        if self._state == _FRAME:
            if self._held:
                data = self._held + data
                self._held = b""
            # the common case by far: exactly one whole frame
            mark = data.find(b"\r\n", 0, 16)
            size = SIZES.get(data[:mark])
            if size is not None:
                end = mark + 4 + size
                here = len(data)
                if here == end and data.endswith(b"\r\n"):
                    self.want = self._floor.learn(end)
                    return [data[mark + 2 : -2]]
                if here < end:
                    self._held = data
                    self.want = end - here
                    return []
        elif self._held:
            data = self._held + data
            self._held = b""
        return self._parse(data)

    def feed_eof(self) -> None:
        """The peer closed: the end of a close-delimited body, else a fault."""
        if self._state == _TO_EOF:
            self._end()
        elif not self.ended:
            self._fail("the connection ended inside the response")

    def _end(self) -> None:
        self._state = _DONE
        self.ended = True

    def _fail(self, reason: str) -> list[bytes]:
        self._state = _FAILED
        self.ended = True
        self.error = reason
        self.keep_alive = False
        return []

    def _parse(self, data: bytes) -> list[bytes]:
        pieces: list[bytes] = []
        position = 0
        while position < len(data) or self._state == _HEAD:
            before = self._state
            if before == _HEAD:
                moved = self._head(data, position)
            elif before == _FRAME:
                moved = self._frame(data, position, pieces)
            elif before == _INSIDE:
                moved = self._inside(data, position, pieces)
            elif before == _TRAILER:
                moved = self._trailer(data, position)
            elif before == _LENGTH:
                moved = self._length(data, position, pieces)
            elif before == _TO_EOF:
                pieces.append(data[position:])
                moved = len(data)
            elif before == _DONE:
                # the body stands; only the connection can't be trusted any more
                self.keep_alive = False
                break
            else:
                break
            if moved == position and self._state == before:
                self._held = data[position:]
                break
            position = moved
        return pieces

    def _head(self, data: bytes, start: int) -> int:
        end = data.find(b"\r\n\r\n", start)
        if end < 0:
            if data[start : start + 5] != b"HTTP/"[: len(data) - start]:
                self._fail("the answer is not HTTP")
            elif len(data) - start > MAX_HEAD:
                self._fail(f"the response head is over {MAX_HEAD} bytes")
            return start
        lines = data[start:end].split(b"\r\n")
        status = read_status(lines[0])
        if status is None:
            self._fail("the status line is not HTTP/1.x")
            return start
        headers = read_headers(lines[1:])
        if headers is None:
            self._fail("a header line is malformed")
            return start
        if 100 <= status < 200:
            if status == 101:
                self._fail("the server switched protocols, which nobody asked for")
                return start
            self._interim = True
            return end + 4
        self.status = status
        self.headers = headers
        self._begin_body(lines[0].startswith(b"HTTP/1.1"))
        return end + 4

    def _begin_body(self, version_11: bool) -> None:
        headers = self.headers
        connection = headers.get("connection", "").lower()
        self.keep_alive = "close" not in connection and (version_11 or "keep-alive" in connection)
        coding = headers.get("transfer-encoding")
        if self.status in (204, 304):
            self._end()
        elif coding is not None:
            if coding.strip().lower() != "chunked":
                self._fail("the transfer coding is not chunked")
            elif "content-length" in headers:
                self._fail("the response has both a length and a transfer coding")
            else:
                self.framed = True
                self._state = _FRAME
                self.want = UNFRAMED_READ
        elif "content-length" in headers:
            length = read_length(headers["content-length"])
            if length is None:
                self._fail("the content-length is not a number")
                return
            self._left = length
            self._state = _LENGTH
            if not self._left:
                self._end()
            self.want = self._unframed_want()
        else:
            self.keep_alive = False
            self._state = _TO_EOF
            self.want = self._unframed_want()

    def _unframed_want(self) -> int:
        return UNFRAMED_READ if "event-stream" in self.headers.get("content-type", "") else BULK_READ

    def _frame(self, data: bytes, start: int, pieces: list[bytes]) -> int:
        mark = data.find(b"\r\n", start)
        if mark < 0:
            if len(data) - start > 4096:
                self._fail("a chunk size line is over 4096 bytes")
            elif data[start] not in HEX_DIGITS:
                self._fail("a chunk size is not a hexadecimal number")
            self.want = LEAST_FRAME
            return start
        size = read_chunk_size(data[start:mark])
        if size is None:
            self._fail("a chunk size is not a hexadecimal number")
            return start
        if size == 0:
            self._state = _TRAILER
            self.want = HEAD_READ
            return mark + 2
        end = mark + 4 + size
        if end > len(data):
            if size > MAX_HELD_FRAME:
                self._state = _INSIDE
                self._left = size
                self.want = BULK_READ
                return mark + 2
            self.want = end - len(data)
            return start
        if data[end - 2 : end] != b"\r\n":
            self._fail("a chunk does not end where its size says")
            return start
        self.want = self._floor.learn(end - start)
        pieces.append(data[mark + 2 : end - 2])
        return end

    def _inside(self, data: bytes, start: int, pieces: list[bytes]) -> int:
        """Within a frame too large to hold; _left counts down to its closing CRLF."""
        if self._left:
            taken = data[start : start + self._left]
            self._left -= len(taken)
            pieces.append(taken)
            self.want = min(BULK_READ, self._left + 2)
            return start + len(taken)
        if len(data) - start < 2:
            return start
        if data[start : start + 2] != b"\r\n":
            self._fail("a chunk does not end where its size says")
            return start
        self._state = _FRAME
        self.want = self._floor.want or UNFRAMED_READ
        return start + 2

    def _trailer(self, data: bytes, start: int) -> int:
        mark = data.find(b"\r\n", start)
        if mark < 0:
            if len(data) - start > MAX_HEAD:
                self._fail("a trailer line is too long")
            return start
        if mark == start:
            self._end()
        elif b":" not in data[start:mark]:
            self._fail("a trailer line is malformed")
        return mark + 2

    def _length(self, data: bytes, start: int, pieces: list[bytes]) -> int:
        taken = data[start : start + self._left]
        self._left -= len(taken)
        pieces.append(taken)
        if not self._left:
            self._end()
        return start + len(taken)
