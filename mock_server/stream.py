"""StreamSink: the tokens of one choice as the events of a streamed chat completion."""

from dataclasses import dataclass

import orjson

from mock_server import wire
from mock_server.connection import WriteTo
from mock_server.event_sink import EVENTS_PER_WRITE, EventSink
from mock_server.reply import Reply
from mock_server.tokens import Text


@dataclass(slots=True)
class Shared:
    """What the choices of one answer share on the wire: its head, and who is last and ends the body."""

    open_choices: int
    head_is_sent: bool = False


class StreamSink(EventSink):
    """One choice of an answer."""

    def __init__(
        self, reply: Reply, transport: WriteTo, *, chunked: bool, index: int, shared: Shared
    ) -> None:
        super().__init__(transport, chunked=chunked, alone=shared.open_choices == 1)
        self._reply = reply
        self._index = index
        self._shared = shared
        self._answer = reply.admitted.answers[index]
        # the phase that is being written: reasoning, then the answer
        self._base = 0  # token at which its text starts
        self._text: Text = self._answer.reasoning
        self._opening, self._middle, self._tail = wire.event_parts(reply.envelope)
        self._head = self._delta = b""  # of an event up to its choices; of these up to their text
        self._before = self._after = b""
        self._fixed = 0  # bytes of a plain event but for its text

    def _turn(self, second: int) -> None:
        super()._turn(second)
        self._head = b"%b%d%b" % (self._opening, second, self._middle)
        self._before = self._head + self._delta

    def _plain_event(self, start: int, end: int) -> bytes:
        fragment = self._text.fragment(start - self._base, end - self._base)
        return b"%x\r\n%b%b%b" % (self._fixed + len(fragment), self._before, fragment, self._after)

    def _encode(self, stride: int, first_token_s: float | None = None) -> bytes:
        answer = self._answer
        if self.written:
            return b""
        parts: list[bytes] = []
        if not self._shared.head_is_sent and self._made:
            self._shared.head_is_sent = True
            parts.append(self._reply.stream_head(chunked=self._chunked, first_token_s=first_token_s))
        self._enter_phase()
        for _ in range(EVENTS_PER_WRITE):
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
        return b"".join(parts)

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
        self._delta = b'[{"index":%d,"delta":{"%b":"' % (self._index, field)
        self._before = self._head + self._delta
        self._after = b'"}}]%b\r\n' % self._tail
        self._fixed = len(self._before) + len(self._after) - 2

    def _text_event(self, start: int, end: int) -> bytes:
        role = b'","role":"assistant' if start == 0 else b""
        text = self._text.fragment(start - self._base, end - self._base)
        return self._framed(b"%b%b%b%b" % (self._before, text, role, self._after[:-2]))

    def _ending(self) -> bytes:
        """Tool calls, each whole; the finish reason; after the last choice usage if asked for, and [DONE]."""
        reply, answer, index = self._reply, self._answer, self._index
        head, tail = self._head, self._tail
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
