"""One answer, read as its pieces arrive: chunk times, tokens, usage and, at the end, the outcome. Pure.

Most chunks go the short way, by a template (template.py). Everything else is parsed.
"""

from array import array
from typing import Any

import orjson

from servebench.meter.answer import MAX_LABEL, Parts, error_text, read_choices, redact
from servebench.meter.chunk_gaps import chunk_gaps
from servebench.meter.ending import OUTCOME_OF, Ending
from servebench.meter.held_body import MAX_BODY, MAX_ERROR_BODY, HeldBody
from servebench.meter.record import Outcome
from servebench.meter.sse import Event, EventParser, begins_stream
from servebench.meter.template import NO_TEMPLATE, PLAIN_TEXT, template_of
from servebench.meter.tool_arguments import ToolArguments
from servebench.meter.usage import Usage, read_usage


class AnswerReader:
    """begin(head) once, feed(piece, at_ns) for each piece of body, judge(ending) at the end.

    times: the stamp of each content-carrying chunk, ns on the caller's clock. secrets: strings that no error
    may repeat. prefix, suffix: what pieces like the last one begin and end with, NO_TEMPLATE where none is
    known; fast_reasoning: those are reasoning.
    """

    __slots__ = (
        "_arguments",
        "_body",
        "_bundled",
        "_framed",
        "_from",
        "_push",
        "_secrets",
        "_sse",
        "_tools",
        "_upto",
        "bad",
        "done_marker",
        "error",
        "fast_reasoning",
        "finish_reason",
        "first_visible_ns",
        "prefix",
        "reasoning_chunks",
        "service_tier",
        "status",
        "suffix",
        "times",
        "usage",
    )

    def __init__(self, secrets: tuple[str, ...] = ()) -> None:
        self.status = 0
        self.times = array("q")
        self.first_visible_ns: int | None = None
        self.reasoning_chunks = 0
        self.finish_reason: str | None = None
        self.done_marker = False
        self.error = ""
        self.bad = ""
        self.usage: Usage | None = None
        self.service_tier: str | None = None
        self._secrets = secrets
        self._push = self.times.append
        self._sse: EventParser | None = None
        self._body = HeldBody()
        self._framed = True
        self._bundled = 0
        self._tools: set[object] = set()
        self._arguments = ToolArguments()
        self.prefix = self.suffix = NO_TEMPLATE
        self._from = self._upto = 0
        self.fast_reasoning = False

    @property
    def tool_calls(self) -> int:
        return len(self._tools)

    @property
    def broken_tool_calls(self) -> int:
        return self._arguments.broken

    @property
    def body_begun(self) -> bool:
        """Whether any byte of the body has come."""
        return bool(self.times or self._body.size or (self._sse is not None and self._sse.begun))

    def begin(self, status: int, content_type: str, *, framed: bool, coding: str = "") -> None:
        """The head: framed says whether pieces are the server's own chunk frames."""
        self.status = status
        self._framed = framed
        if coding.strip().lower() not in ("", "identity"):
            shown = redact(coding.lower()[:MAX_LABEL], self._secrets)
            self.bad = f"the body is compressed ({shown}), which nobody asked for"
        elif status < 400 and "event-stream" in content_type.lower():
            self._sse = EventParser()

    def feed(self, piece: bytes, at_ns: int) -> None:
        if (
            piece.startswith(self.prefix)
            and piece.endswith(self.suffix)
            and PLAIN_TEXT(piece, self._from, len(piece) - self._upto)
        ):
            self._push(at_ns)
            if self.fast_reasoning:
                self.reasoning_chunks += 1
            return
        self._feed_slow(piece, at_ns)

    def _feed_slow(self, piece: bytes, at_ns: int) -> None:
        parser = self._sse
        if parser is None:
            if self._body.size or self.status >= 400 or not begins_stream(piece):
                self._collect(piece, at_ns)
                return
            self._sse = parser = EventParser()
        fresh = parser.at_boundary
        self.prefix = NO_TEMPLATE
        events = parser.feed(piece)
        if parser.oversize:
            self.bad = self.bad or "an event is too large"
        counted = len(self.times)
        parts: Parts | None = None
        for event in events:
            parts = self._event(event, at_ns)
        if self._framed and len(self.times) > counted + 1:
            self._bundled += len(self.times) - counted - 1
        if fresh and len(events) == 1 and parts is not None and parts.plain and parser.at_boundary:
            self._learn(template_of(piece, events[0].data, parts.field), reasoning=parts.reasoning)

    def _learn(self, found: tuple[bytes, bytes] | None, *, reasoning: bool) -> None:
        if found is not None:
            self.prefix, self.suffix = found
            self._from, self._upto = map(len, found)
            self.fast_reasoning = reasoning

    def _event(self, event: Event, at_ns: int) -> Parts | None:
        if self.done_marker:
            return None
        if event.data == b"[DONE]":
            self.done_marker = True
            return None
        try:
            chunk = orjson.loads(event.data)
        except orjson.JSONDecodeError:
            self._fault(event, "an event is not JSON")
            return None
        if not isinstance(chunk, dict):
            self._fault(event, "an event is not a JSON object")
            return None
        if chunk.get("error") or event.name == b"error":
            self.error = self.error or error_text(chunk, self._secrets)
            return None
        return self._chunk(chunk, at_ns)

    def _fault(self, event: Event, reason: str) -> None:
        if event.name == b"error":
            self.error = self.error or redact(event.data.decode("utf-8", "replace"), self._secrets)
        else:
            self.bad = self.bad or reason

    def _chunk(self, chunk: dict[str, Any], at_ns: int) -> Parts | None:
        choices, usage = chunk.get("choices"), chunk.get("usage")
        if not isinstance(choices, list) and not (choices is None and isinstance(usage, dict)):
            self.bad = self.bad or "an event is not a chat completion chunk"
            return None
        self._facts(chunk, usage)
        parts = read_choices(choices or [], "delta")
        if parts is None:
            self.bad = self.bad or "an event is not a chat completion chunk"
            return None
        self._count(parts, at_ns)
        return None if usage else parts

    def _facts(self, answer: dict[str, Any], usage: object) -> None:
        if isinstance(usage, dict):
            self.usage = read_usage(usage)
        tier = answer.get("service_tier")
        if isinstance(tier, str):
            self.service_tier = tier[:MAX_LABEL]

    def _count(self, parts: Parts, at_ns: int) -> None:
        if parts.visible or parts.reasoning:
            self._push(at_ns)
            if not parts.visible:
                self.reasoning_chunks += 1
            elif self.first_visible_ns is None:
                self.first_visible_ns = at_ns
        self._tools |= parts.tool_calls
        for key, piece in parts.arguments:
            self._arguments.add(key, piece)
        self.finish_reason = parts.finish_reason or self.finish_reason

    def _collect(self, piece: bytes, at_ns: int) -> None:
        """A body that is read at its end; its last piece's time is the answer's."""
        error = self.status >= 400
        if not self._body.add(piece, at_ns, MAX_ERROR_BODY if error else MAX_BODY) and not error:
            self.bad = self.bad or f"the body is over {MAX_BODY} bytes"

    def judge(self, ending: Ending, detail: str = "") -> tuple[Outcome, str]:
        """The outcome and its sentence. Call once, after the last piece. What the server said goes before how
        it ended.
        """
        if self.status >= 400:
            kind = Outcome.HTTP_5XX if self.status >= 500 else Outcome.HTTP_4XX
            said = self.bad or error_text(self._body.json_or_text(), self._secrets)
            return Outcome.HTTP_429 if self.status == 429 else kind, said
        if self._sse is None and ending is Ending.COMPLETE and not self.bad:
            self._whole_body()
        if self.error:
            return Outcome.STREAM_ERROR, self.error
        if self.bad:
            return Outcome.BAD_RESPONSE, self.bad
        if self.done_marker:
            return Outcome.SUCCESS, ""
        if ending is not Ending.COMPLETE:
            return OUTCOME_OF[ending], redact(detail or ending.value, self._secrets)
        if self.finish_reason is not None:
            return Outcome.SUCCESS, ""
        if self._sse is not None and self._sse.noise and not self.times:
            return Outcome.BAD_RESPONSE, "the body is not an event stream"
        if self._sse is not None and self._sse.unfinished:
            return Outcome.STREAM_CUT, "the stream ended inside an event"
        return Outcome.NO_FINISH, "the answer ended without a finish reason or [DONE]"

    def _whole_body(self) -> None:
        """A non-streamed answer: all its tokens arrive at the time of its last byte."""
        if self.status != 200:
            self.bad = f"status {self.status} is neither an answer nor an error"
            return
        try:
            answer = self._body.json()
        except orjson.JSONDecodeError:
            self.bad = "the body is neither JSON nor an event stream"
            return
        if isinstance(answer, dict) and answer.get("error"):
            self.error = error_text(answer, self._secrets)
            return
        self._whole_answer(answer)

    def _whole_answer(self, answer: object) -> None:
        choices = answer.get("choices") if isinstance(answer, dict) else None
        parts = read_choices(choices, "message") if isinstance(choices, list) else None
        if parts is None or not isinstance(answer, dict):
            self.bad = "the body is not a chat completion"
            return
        self._facts(answer, answer.get("usage"))
        self._count(parts, self._body.at_ns)

    def usage_facts(self) -> dict[str, Any]:
        """The record's token fields: as the server's usage sent them, else counted from the chunks
        (approximate).
        """
        visible = len(self.times) - self.reasoning_chunks
        if self.usage is not None:
            return self.usage.facts(visible)
        if not self.times:
            return {}
        return {
            "completion_tokens": visible,
            "reasoning_tokens": self.reasoning_chunks,
            "usage_source": "counted",
        }

    def chunk_us(self, sent_ns: int) -> "tuple[array[int], int]":
        """As chunk_gaps. Chunks that the server itself put into one frame share their stamp by right and are
        not counted.
        """
        gaps_us, shared = chunk_gaps(self.times, sent_ns)
        return gaps_us, max(shared - self._bundled, 0)
