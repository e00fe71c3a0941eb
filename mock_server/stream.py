"""StreamSink: the tokens of one sequence as SSE events.

One event per emission of the engine, one HTTP chunk per event, written straight to the connection's
transport. What is constant in an event is encoded once per stream (again when `created` moves on a second),
so that an ordinary event costs one format and one write. A client that doesn't read costs no memory: past
UNREAD_BYTES its tokens are only counted, and encoded once it reads.
"""

import asyncio
from dataclasses import dataclass

import orjson

from mock_server import wire
from mock_server.choices import UNREAD_BYTES
from mock_server.connection import WriteTo
from mock_server.reply import Reply
from mock_server.tokens import Text

_EVENTS_PER_WRITE = 512  # of a backlog, whose tokens go one to an event


@dataclass(slots=True)
class Shared:
    """What the choices of one answer share on the wire: its head, and who is last and ends the body."""

    open_choices: int
    head_is_sent: bool = False


class StreamSink:
    """One choice of an answer. chunked False: HTTP/1.0, where the end of the connection ends the body."""

    def __init__(
        self, reply: Reply, transport: WriteTo, *, chunked: bool, index: int, shared: Shared
    ) -> None:
        self.last_s = -1.0
        self.engine_done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.written = False  # to the last byte
        self._reply = reply
        self._index = index
        self._shared = shared
        self._answer = reply.admitted.answers[index]
        self._transport = transport
        self._chunked = chunked
        self._made = self._sent = 0  # tokens
        self._second = 0
        # the phase that is being written: reasoning, then the answer
        self._base = 0  # token at which its text starts
        self._plain_from = self._plain_to = 0  # tokens that go out as ordinary events
        self._text: Text = self._answer.reasoning
        self._before = self._after = b""
        self._fixed = 0

    def emit(self, tokens: int, second: int, finished: bool) -> None:
        start = self._made
        made = self._made = start + tokens
        transport = self._transport
        if finished and not self.engine_done.done():
            self.engine_done.set_result(None)
        if transport.is_closing() or transport.get_write_buffer_size() > UNREAD_BYTES:
            return
        caught_up = self._sent == start
        if (
            caught_up
            and self._plain_from <= start
            and made <= self._plain_to
            and second == self._second
            and not finished
        ):
            fragment = self._text.fragment(start - self._base, made - self._base)
            self._sent = made
            transport.write(
                b"%x\r\n%b%b%b" % (self._fixed + len(fragment), self._before, fragment, self._after)
            )
            return
        self._second = second
        self.pump(stride=tokens if caught_up else 1)

    def pump(self, *, stride: int = 1) -> None:
        """Writes what is made and not sent, `stride` tokens an event; at the end, all that ends a stream."""
        answer = self._answer
        if self.written:
            return
        parts: list[bytes] = []
        if not self._shared.head_is_sent and self._made:
            self._shared.head_is_sent = True
            parts.append(self._reply.stream_head(chunked=self._chunked))
        self._enter_phase()
        for _ in range(_EVENTS_PER_WRITE):
            if self._sent == self._made:
                break
            if self._sent == answer.reasoning_tokens:
                self._enter_phase()
            phase_end = (
                answer.reasoning_tokens if self._sent < answer.reasoning_tokens else answer.total_tokens
            )
            end = min(self._sent + stride, self._made, phase_end)
            if self._sent < answer.reasoning_tokens or not answer.tool_calls:
                parts.append(self._text_event(self._sent, end))
            self._sent = end
        if self._sent == answer.total_tokens:
            parts.append(self._ending())
            self.written = True
        self._transport.write(b"".join(parts))

    def _enter_phase(self) -> None:
        """Encodes what the events of the phase of the next token have in common."""
        answer = self._answer
        thinking = self._sent < answer.reasoning_tokens
        self._base = 0 if thinking else answer.reasoning_tokens
        self._text = answer.reasoning if thinking else answer.text
        self._plain_from = max(1, self._base)  # the first event of a stream has the role
        self._plain_to = answer.reasoning_tokens if thinking else answer.total_tokens
        if not self._chunked or (answer.tool_calls and not thinking):
            self._plain_to = 0
        field = b"reasoning_content" if thinking else b"content"
        head, tail = wire.event_edges(self._reply.envelope, self._second)
        self._before = b'%b[{"index":%d,"delta":{"%b":"' % (head, self._index, field)
        self._after = b'"}}]%b\r\n' % tail
        self._fixed = len(self._before) + len(self._after) - 2

    def _text_event(self, start: int, end: int) -> bytes:
        role = b'","role":"assistant' if start == 0 else b""
        text = self._text.fragment(start - self._base, end - self._base)
        return self._framed(b"%b%b%b%b" % (self._before, text, role, self._after[:-2]))

    def _framed(self, event: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(event), event) if self._chunked else event

    def _ending(self) -> bytes:
        """Tool calls, each whole; the finish reason; after the last choice usage if asked for, and [DONE]."""
        reply, answer, index = self._reply, self._answer, self._index
        head, tail = wire.event_edges(reply.envelope, self._second)
        events = []
        for position, call in enumerate(answer.tool_calls):
            delta: dict[str, object] = {"tool_calls": [wire.tool_call_json(call, position)]}
            if position == 0 and answer.reasoning_tokens == 0:
                delta["role"] = "assistant"
            events.append(b"%b%b%b" % (head, orjson.dumps([{"index": index, "delta": delta}]), tail))
        finish = [{"index": index, "delta": {}, "finish_reason": answer.finish_reason}]
        events.append(b"%b%b%b" % (head, orjson.dumps(finish), tail))
        self._shared.open_choices -= 1
        if self._shared.open_choices:
            return b"".join([self._framed(event) for event in events])
        if reply.admitted.chat.include_usage:
            usage = orjson.dumps(reply.usage().to_json())
            events.append(b'%b[],"usage":%b%b' % (head, usage, tail))
        events.append(wire.DONE)
        return b"".join([self._framed(event) for event in events]) + (b"0\r\n\r\n" if self._chunked else b"")
