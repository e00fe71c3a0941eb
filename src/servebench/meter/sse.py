"""Server-sent events from bytes, by the WHATWG rules: no I/O, no clock, any split of the bytes.

Lines end in LF, CR LF or CR; lines of data are joined by LF; ":" begins a comment; one byte-order mark at the
start is dropped; an event without data, or cut off by the end of the stream, is none. Text stays bytes (UTF-8
needs no care here). https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from typing import Final, NamedTuple

MAX_EVENT: Final = 1 << 22
_BOM: Final = b"\xef\xbb\xbf"
_IGNORED: Final = (b"", b"id", b"retry")  # b"": a comment
_LEADS: Final = (b"data:", b"event:", b":", b"id:", b"retry:", _BOM)
_LINE_STARTS: Final = (b":", b"d", b"e", b"i", b"r", _BOM[:1])


def begins_stream(piece: bytes) -> bool:
    """Whether a body that begins so can be an event stream; no JSON does, nor its first few bytes."""
    return piece.startswith(_LEADS) or any(lead.startswith(piece) for lead in _LEADS)


def _is_one_event(data: bytes) -> bool:
    """Whether this is one whole event of one line of data, as most are."""
    first = data.find(b"\n")
    return (
        first == len(data) - 2 and data.startswith(b"data: ") and data.endswith(b"\n") and b"\r" not in data
    )


class Event(NamedTuple):
    """data: the joined data lines. name: of the event field, b"" when the server gave none."""

    data: bytes
    name: bytes = b""


class EventParser:
    """feed(bytes) -> the events they complete. oversize: an event passed MAX_EVENT bytes; parsing has
    stopped.
    """

    __slots__ = ("_data", "_name", "_noise", "_size", "_skip_lf", "_started", "_tail", "oversize")

    def __init__(self) -> None:
        self._tail = bytearray()  # of a line that has not ended
        self._data: list[bytes] = []
        self._name = b""
        self._size = 0
        self._skip_lf = False
        self._started = False
        self._noise = False
        self.oversize = False

    @property
    def begun(self) -> bool:
        """Whether any byte has come."""
        return self._started or bool(self._tail)

    @property
    def at_boundary(self) -> bool:
        """Whether nothing of an unfinished event is held: the next bytes begin a new one."""
        return not (self._tail or self._data or self._name or self._skip_lf)

    @property
    def noise(self) -> bool:
        """Whether there was a line that no event stream has (the standard skips it)."""
        return self._noise or bool(self._tail and not self._tail.startswith(_LINE_STARTS))

    @property
    def unfinished(self) -> bool:
        """Whether part of an event is held, lost if the stream ends here."""
        return bool(self._tail or self._data)

    def feed(self, data: bytes) -> list[Event]:
        if self.oversize:
            return []
        if self.at_boundary and _is_one_event(data):
            self._started = True
            return [Event(data[6:-2])]
        return self._split(data)

    def _split(self, data: bytes) -> list[Event]:
        if not self._started:
            data = bytes(self._tail) + data
            self._tail.clear()
            if len(data) < 3 and _BOM.startswith(data):
                self._tail += data
                return []
            self._started = True
            data = data.removeprefix(_BOM)
        if self._skip_lf and data:
            self._skip_lf = False
            if data[:1] == b"\n":
                data = data[1:]
        if not data:
            return []
        events: list[Event] = []
        lines = data.splitlines(keepends=True)
        last = lines[-1]
        if last.endswith(b"\r"):
            self._skip_lf = True  # the LF of a CR LF may come with the next bytes
            last = b""
        elif last.endswith(b"\n"):
            last = b""
        else:
            lines.pop()
        if lines and self._tail:
            lines[0] = bytes(self._tail) + lines[0]
            self._tail.clear()
        for line in lines:
            self._line(line.rstrip(b"\r\n"), events)
        self._tail += last  # joined once, when its end has come
        if self._size + len(self._tail) > MAX_EVENT:
            self.oversize = True
        return events

    def _line(self, line: bytes, events: list[Event]) -> None:
        if not line:
            if self._data:
                events.append(Event(b"\n".join(self._data), self._name))
                self._data = []
            self._name = b""
            self._size = 0
            return
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
            self._size += len(value) + 1
        elif field == b"event":
            self._name = value
        elif field not in _IGNORED:
            self._noise = True
