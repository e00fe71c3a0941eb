"""The short way of the common chunk: one whole frame of a calm stream, like the one before but for its text.

It needs a read, a few comparisons and the stamp, and touches one object of the stream's, as most of what a
chunk costs with thousands of streams is fetching their state into the processor's cache. Whatever is not as
expected goes the long way, which parses; nothing is lost by having tried.
"""

import time
from typing import Any, Final

from servebench.meter.http1 import ResponseParser
from servebench.meter.http_lines import SIZE_LINES
from servebench.meter.owner import Owner
from servebench.meter.pace import CALM_GAPS, shortest_gap_ns, time_alone_ns
from servebench.meter.stream import AnswerReader
from servebench.meter.template import NO_TEMPLATE, PLAIN_TEXT, whole_chunks
from servebench.meter.timestamps import ANCILLARY_BYTES, unpack_timespec

LATE_NS: Final = 10_000_000  # a read so late may have made the kernel acknowledge by its timer
_IN_TIME_NS: Final = 1_000_000
_CATCH_UP: Final = 4096
_CHUNKS_A_LOOK: Final = 32  # between two looks at the pace
_CHEAP_READ: Final = 479  # a bytes object up to this comes from Python's own pools
NO_ANSWER: Final = AnswerReader()
NO_RESPONSE: Final = ResponseParser()
_now_ns = time.monotonic_ns


class SteadyReader:
    """readable() whenever there are bytes; look() after a chunk that came the long way; restart() with
    another answer. The long way is the heir's: read() reads, take() is given what was read and says whether
    to read on; came_late() hears of reads past LATE_NS.
    """

    __slots__ = (
        "_alone_ns",
        "_answer",
        "_from",
        "_lag",
        "_lead",
        "_left",
        "_look_at",
        "_mark",
        "_parser",
        "_presumed",
        "_received",
        "_room",
        "_shortest_ns",
        "_sock",
        "_stamps",
        "_tail",
        "_thinking",
        "_times",
        "_upto",
    )

    def __init__(self, engine: Owner) -> None:
        self._stamps = engine.stamps
        self._lag = engine.lag.push
        self._presumed = engine.presumed
        self._sock: Any = None
        self._parser, self._answer = NO_RESPONSE, NO_ANSWER
        self._times = NO_ANSWER.times
        self._received = 0  # bytes of this answer
        self._alone_ns = 0  # since a chunk's stamp, in which one more at most can have come; 0: the long way
        self._shortest_ns = self._left = self._look_at = 0
        self._lead = self._tail = b""
        self._mark = self._from = self._upto = self._room = 0
        self._thinking = False

    def readable(self) -> None:
        alone_ns = self._alone_ns
        if not alone_ns:
            self.read()
            return
        now_ns = _now_ns()
        times = self._times
        last_ns = times[-1]
        if now_ns - last_ns >= alone_ns:
            if self._stamps.late_ns < _IN_TIME_NS:
                self.read()
            else:
                self._catch_up(now_ns)
            return
        try:
            data, ancillary, _, _ = self._sock.recvmsg(self._room, ANCILLARY_BYTES)
        except OSError as fault:
            self.not_read(fault)
            return
        size, mark = len(data), self._mark
        if (
            ancillary
            and data.endswith(self._tail)
            and data.startswith(self._lead, mark)
            and data.startswith(SIZE_LINES[size])
            and PLAIN_TEXT(data, self._from, size - self._upto)
        ):
            seconds, nanoseconds = unpack_timespec(ancillary[0][2])
            at_ns = seconds * 1_000_000_000 + nanoseconds - self._stamps.offset_ns
            lag, lag_ns = self._lag, now_ns - at_ns
            lag(lag_ns)
            if lag_ns > LATE_NS:
                self.came_late()
            times.append(at_ns)
            self._received += size
            if self._thinking:
                self._answer.reasoning_chunks += 1
            left = self._left
            if left and at_ns - last_ns >= self._shortest_ns:
                self._left = left - 1
            else:
                self._look_again()
            return
        self._alone_ns = self._look_at = 0
        if self.take(data, ancillary, now_ns):
            self.read()

    def _catch_up(self, now_ns: int) -> None:
        """This loop is so late that more than one chunk waits. The kernel may have merged them, with the last
        one's stamp: reading them one by one would save nothing, and cost what could make up for it.
        """
        try:
            data, ancillary, _, _ = self._sock.recvmsg(_CATCH_UP, ANCILLARY_BYTES)
        except OSError as fault:
            self.not_read(fault)
            return
        chunks = whole_chunks(data, self._lead, self._tail) if ancillary else 0
        if chunks:
            at_ns = self.stamp(ancillary, now_ns)
            self._times.extend([at_ns] * chunks)
            self._received += len(data)
            if self._thinking:
                self._answer.reasoning_chunks += chunks
            return
        self._alone_ns = self._look_at = 0
        if self.take(data, ancillary, now_ns):
            self.read()

    def stamp(self, ancillary: list[tuple[int, int, bytes]], now_ns: int) -> int:
        """When what was read at now_ns came: the kernel's stamp, else the time of the read."""
        if not ancillary:
            return now_ns
        seconds, nanoseconds = unpack_timespec(ancillary[0][2])
        at_ns: int = seconds * 1_000_000_000 + nanoseconds - self._stamps.offset_ns
        lag_ns, late_ns = now_ns - at_ns, self._stamps.late_ns
        self._stamps.late_ns = lag_ns if lag_ns > late_ns else late_ns - (late_ns >> 4)
        self._lag(lag_ns)
        if lag_ns > LATE_NS:
            self.came_late()
        return at_ns

    def restart(self, parser: ResponseParser, answer: AnswerReader) -> None:
        """Another answer."""
        self._parser, self._answer, self._times = parser, answer, answer.times
        self._received = self._alone_ns = 0
        self._shortest_ns = self._presumed.shortest_ns
        self._look_at = 1 if self._shortest_ns else CALM_GAPS + 1

    def look(self) -> None:
        """May the next chunks go the short way?"""
        times = self._times
        chunks = len(times)
        if chunks < self._look_at or self._answer.prefix is NO_TEMPLATE or not self._parser.between_frames:
            return
        self._look_at = chunks + CALM_GAPS
        if chunks > CALM_GAPS:
            self._shortest_ns = shortest_gap_ns(times)
            self._presumed.verdict(self._shortest_ns)
        if self._shortest_ns:
            self._go_short()

    def _go_short(self) -> None:
        answer, smallest = self._answer, self._parser.want
        if smallest >= len(SIZE_LINES):
            return
        self._alone_ns = time_alone_ns(self._shortest_ns)
        self._left = CALM_GAPS if len(self._times) <= CALM_GAPS else _CHUNKS_A_LOOK
        self._thinking = answer.fast_reasoning
        self._lead, self._tail = b"\r\n" + answer.prefix, answer.suffix + b"\r\n"
        room = max(smallest + (smallest >> 2), _CHEAP_READ)
        self._room = min(2 * smallest - 1, room, len(SIZE_LINES) - 1)  # never two frames
        self._mark = len(SIZE_LINES[smallest]) - 2
        self._from, self._upto = self._mark + len(self._lead), len(self._tail)

    def _look_again(self) -> None:
        """The pace was looked at long ago, or a gap was shorter than those before, or than was presumed."""
        chunks = len(self._times)
        shortest_ns = shortest_gap_ns(self._times, min(chunks - 1, CALM_GAPS))
        self._shortest_ns = shortest_ns
        self._alone_ns = time_alone_ns(shortest_ns)
        self._left = CALM_GAPS if chunks <= CALM_GAPS else _CHUNKS_A_LOOK
        if chunks > CALM_GAPS or not shortest_ns:
            self._presumed.verdict(shortest_ns)
        if not shortest_ns:
            self._look_at = chunks + CALM_GAPS

    def came_late(self) -> None:
        raise NotImplementedError

    def read(self) -> None:
        raise NotImplementedError

    def take(self, data: bytes, ancillary: list[tuple[int, int, bytes]], now_ns: int) -> bool:
        raise NotImplementedError

    def not_read(self, fault: OSError) -> None:
        raise NotImplementedError
