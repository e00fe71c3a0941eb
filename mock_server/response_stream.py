"""ResponseSink: the tokens of one response as the numbered events of /v1/responses.

As with chat completions: one event per emission, one HTTP chunk per event, what is constant in an event
encoded once, and a client that doesn't read costs no memory. The order and the fields of events are those of
a recorded grok-4.3 stream.
"""

import asyncio
import time
from typing import Any

import orjson

from mock_server.choices import UNREAD_BYTES
from mock_server.connection import WriteTo
from mock_server.reply import Reply
from mock_server.response_shape import ResponseShape, text_part
from mock_server.tokens import Text

_EVENTS_PER_WRITE = 512  # of a backlog, whose tokens go one to an event
_THINKING, _SPEAKING = "reasoning", "visible"


class ResponseSink:
    """chunked False: HTTP/1.0, where the end of the connection ends the body."""

    def __init__(self, reply: Reply, shape: ResponseShape, transport: WriteTo, *, chunked: bool) -> None:
        self.last_s = -1.0
        self.engine_done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.written = False  # to the last byte
        self.final: dict[str, Any] | None = None  # the finished response, once written
        self._reply = reply
        self._shape = shape
        self._answer = shape.answer
        self._transport = transport
        self._chunked = chunked
        self._made = self._sent = 0  # tokens
        self._number = 0  # of the next event
        # the phase that is being written
        self._phase: str | None = None
        self._base = 0  # token at which its text starts
        self._plain_to = 0  # tokens that go out as ordinary events
        self._text: Text = self._answer.reasoning
        self._before = self._between = self._after = b""
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
        if caught_up and made <= self._plain_to and not finished:
            fragment = self._text.fragment(start - self._base, made - self._base)
            number = b"%d" % self._number
            self._number += 1
            self._sent = made
            size = self._fixed + len(number) + len(fragment)
            transport.write(
                b"%x\r\n%b%b%b%b%b" % (size, self._before, number, self._between, fragment, self._after)
            )
            return
        self.pump(stride=tokens if caught_up else 1)

    def pump(self, *, stride: int = 1) -> None:
        """Writes what is made and not sent, `stride` tokens an event; in the end all that ends a response."""
        if self.written or not self._made:
            return
        answer = self._answer
        parts: list[bytes] = [] if self._phase else self._opening()
        for _ in range(_EVENTS_PER_WRITE):
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
        self._transport.write(b"".join(parts))

    def _opening(self) -> list[bytes]:
        head, shape = self._reply.stream_head(chunked=self._chunked), self._shape
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
        self.final = shape.finished(int(time.time()))
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

    def _framed(self, event: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(event), event) if self._chunked else event
