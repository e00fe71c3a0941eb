"""ResponseSink: the tokens of one response as the numbered events of /v1/responses.

The order and the fields of events are those of a recorded grok-4.3 stream.
"""

from typing import Any

import orjson

from mock_server.connection import WriteTo
from mock_server.event_sink import EVENTS_PER_WRITE, EventSink
from mock_server.reply import Reply
from mock_server.response_shape import ResponseShape, text_part
from mock_server.tokens import Text

_THINKING, _SPEAKING = "reasoning", "visible"


class ResponseSink(EventSink):
    """final: the finished response, once written."""

    def __init__(self, reply: Reply, shape: ResponseShape, transport: WriteTo, *, chunked: bool) -> None:
        super().__init__(transport, chunked=chunked, alone=True)
        self.final: dict[str, Any] | None = None
        self._reply = reply
        self._shape = shape
        self._answer = shape.answer
        # the phase that is being written
        self._phase: str | None = None
        self._base = 0  # token at which its text starts
        self._text: Text = self._answer.reasoning
        self._before = self._between = self._after = b""
        self._fixed = 0  # bytes of a plain event but for its number and text

    def _plain_event(self, start: int, end: int) -> bytes:
        number, fragment = b"%d" % self._number, self._text.fragment(start - self._base, end - self._base)
        size = self._fixed + len(number) + len(fragment)
        return b"%x\r\n%b%b%b%b%b" % (size, self._before, number, self._between, fragment, self._after)

    def _encode(self, stride: int, first_token_s: float | None = None) -> bytes:
        if self.written or not self._made:
            return b""
        answer = self._answer
        parts: list[bytes] = [] if self._phase else self._opening(first_token_s)
        for _ in range(EVENTS_PER_WRITE):
            if self._sent == self._made:
                break
            if self._phase == _THINKING and self._sent == answer.reasoning_tokens:
                parts += [*self._end_of_reasoning(), *self._start_of_answer()]
            thinking = self._phase == _THINKING
            end = min(
                self._sent + stride, self._made, answer.reasoning_tokens if thinking else answer.total_tokens
            )
            if thinking or not answer.tool_calls:
                parts.append(self._delta(self._sent, end))
            self._sent = end
        if self._sent == answer.total_tokens:
            parts += self._ending()
            self.written = True
        return b"".join(parts)

    def _opening(self, first_token_s: float | None) -> list[bytes]:
        head = self._reply.stream_head(chunked=self._chunked, first_token_s=first_token_s)
        shape = self._shape
        response = shape.in_progress()
        parts = [
            head,
            self._event("response.created", response=response),
            self._event("response.in_progress", response=response),
        ]
        if not self._answer.reasoning_tokens:
            return parts + self._start_of_answer()
        item = shape.reasoning_item(done=False)
        parts.append(self._event("response.output_item.added", item=item, output_index=0))
        part = {"text": "", "type": "summary_text"}
        parts.append(self._summary("response.reasoning_summary_part.added", part=part))
        self._enter(_THINKING, 0, self._answer.reasoning_tokens, self._answer.reasoning)
        self._edges(
            "response.reasoning_summary_text.delta",
            b"",
            b'","item_id":"%b","output_index":0,"summary_index":0}' % shape.reasoning_id.encode(),
        )
        return parts

    def _end_of_reasoning(self) -> list[bytes]:
        text = self._shape.thoughts()
        item = self._shape.reasoning_item(done=True)
        return [
            self._summary("response.reasoning_summary_text.done", text=text),
            self._summary(
                "response.reasoning_summary_part.done", part={"text": text, "type": "summary_text"}
            ),
            self._event("response.output_item.done", item=item, output_index=0),
        ]

    def _start_of_answer(self) -> list[bytes]:
        answer, shape = self._answer, self._shape
        self._enter(_SPEAKING, answer.reasoning_tokens, answer.total_tokens, answer.text)
        if answer.tool_calls:
            self._plain_to = 0
            return []
        index = shape.message_index
        self._edges(
            "response.output_text.delta",
            b',"content_index":0',
            b'","item_id":"%b","output_index":%d,"logprobs":[]}' % (shape.message_id.encode(), index),
        )
        item = shape.message_item(done=False)
        return [
            self._event("response.output_item.added", item=item, output_index=index),
            self._content("response.content_part.added", part=text_part("")),
        ]

    def _ending(self) -> list[bytes]:
        """What ends the message, or the calls, each whole; then the response with its usage."""
        shape = self._shape
        if self._answer.tool_calls:
            parts = [part for i in range(len(self._answer.tool_calls)) for part in self._call(i)]
        else:
            text, item = shape.text(), shape.message_item(done=True)
            parts = [
                self._content("response.output_text.done", text=text, logprobs=[]),
                self._content("response.content_part.done", part=text_part(text)),
                self._event("response.output_item.done", item=item, output_index=shape.message_index),
            ]
        self.final = shape.finished(self._second)
        parts.append(self._event(f"response.{shape.status}", response=self.final))
        return [*parts, b"0\r\n\r\n"] if self._chunked else parts

    def _call(self, position: int) -> list[bytes]:
        item, index = self._shape.call_item(position, done=True), self._shape.message_index + position
        place = {"item_id": item["id"], "output_index": index}
        started = self._shape.call_item(position, done=False)
        arguments = item["arguments"]
        return [
            self._event("response.output_item.added", item=started, output_index=index),
            self._event("response.function_call_arguments.delta", delta=arguments, **place),
            self._event("response.function_call_arguments.done", arguments=arguments, **place),
            self._event("response.output_item.done", item=item, output_index=index),
        ]

    def _enter(self, phase: str, start: int, end: int, text: Text) -> None:
        self._phase, self._base, self._text = phase, start, text
        self._plain_to = end if self._chunked else 0

    def _edges(self, kind: str, fields: bytes, after: bytes) -> None:
        """What the deltas of a phase have in common, around their number and their text."""
        name = kind.encode()
        self._before = b'event: %b\ndata: {"sequence_number":' % name
        self._between = b',"type":"%b"%b,"delta":"' % (name, fields)
        self._after = after + b"\n\n\r\n"
        self._fixed = len(self._before) + len(self._between) + len(self._after) - 2

    def _delta(self, start: int, end: int) -> bytes:
        number, self._number = b"%d" % self._number, self._number + 1
        text = self._text.fragment(start - self._base, end - self._base)
        return self._framed(b"".join([self._before, number, self._between, text, self._after[:-2]]))

    def _summary(self, kind: str, **fields: Any) -> bytes:
        place = {"item_id": self._shape.reasoning_id, "output_index": 0}
        last = {"text": fields.pop("text")} if "text" in fields else {}
        return self._event(kind, **place, **fields, summary_index=0, **last)

    def _content(self, kind: str, **fields: Any) -> bytes:
        place = {"item_id": self._shape.message_id, "output_index": self._shape.message_index}
        return self._event(kind, content_index=0, **place, **fields)

    def _event(self, kind: str, **fields: Any) -> bytes:
        body = orjson.dumps({"sequence_number": self._number, "type": kind, **fields})
        self._number += 1
        return self._framed(b"event: %b\ndata: %b\n\n" % (kind.encode(), body))
