"""One request and its answer, from the submit to the record: what is known of it besides the bytes. Pure.

The connection writes down what happens; deadlines and the RequestRecord follow from it.
"""

from array import array
from collections.abc import Callable
from dataclasses import replace

from servebench.meter.call import RESPONSES_PATH, Call, Timeouts
from servebench.meter.ending import Ending
from servebench.meter.head import head_facts
from servebench.meter.http1 import ResponseParser
from servebench.meter.record import Outcome, RequestRecord
from servebench.meter.responses import ResponsesReader
from servebench.meter.stream import AnswerReader

OnDone = Callable[[RequestRecord, "array[int]"], None]

_LARGE_BODY = 16384


def not_sent(call: Call, outcome: Outcome, error: str, *, end_ns: int) -> RequestRecord:
    """The record of a call that never went out. end_ns: since T0."""
    return RequestRecord(
        id=call.id,
        class_name=call.class_name,
        session=call.session,
        turn=call.turn,
        model=call.model,
        intended_ns=call.intended_ns,
        sent_ns=None,
        first_token_ns=None,
        first_visible_ns=None,
        last_token_ns=None,
        end_ns=end_ns,
        outcome=outcome,
        error=error,
        asked_output_tokens=call.asked_output_tokens,
        asked_prompt_tokens=call.asked_prompt_tokens,
        attempts=0,
    )


class Exchange:
    """Times are on the monotonic clock. sent_ns: just before the first byte of the request went out (first
    attempt); opening_ns: since when its connection is being opened, None once it is on its way; reused: on a
    connection kept alive; user_stamps: chunks without a kernel stamp. connect_ns and
    tls_ns: what opening the connection took; None on a reused one.
    """

    __slots__ = (
        "answer",
        "asked",
        "begun",
        "call",
        "connect_ns",
        "on_done",
        "opening_ns",
        "parser",
        "request_bytes",
        "retries",
        "reused",
        "secrets",
        "sent_ns",
        "started_ns",
        "tls_ns",
        "unstamped",
        "user_stamps",
    )

    def __init__(self, call: Call, on_done: OnDone, *, now_ns: int, secrets: tuple[str, ...]) -> None:
        self.call = call
        self.on_done = on_done
        self.secrets = secrets
        self.answer = ResponsesReader(secrets) if call.path == RESPONSES_PATH else AnswerReader(secrets)
        self.parser = ResponseParser()
        self.started_ns = now_ns
        self.opening_ns: int | None = now_ns
        self.sent_ns: int | None = None
        self.connect_ns: int | None = None
        self.tls_ns: int | None = None
        self.request_bytes = self.retries = self.user_stamps = 0
        self.asked = self.begun = self.reused = self.unstamped = False

    def goes_out(self, now_ns: int) -> None:
        """Bytes leave: the request's, once it was asked."""
        if self.asked and self.opening_ns is not None:
            self.opening_ns = None
            if self.sent_ns is None:
                self.sent_ns = now_ns

    def goes_again(self, now_ns: int) -> None:
        """The kept-alive connection was stale: it needs another one."""
        self.retries = 1
        self.opening_ns = now_ns
        self.reused = self.asked = False

    def begin_answer(self) -> None:
        """The head is there."""
        parser = self.parser
        self.begun = True
        headers = parser.headers
        self.answer.begin(
            parser.status,
            headers.get("content-type", ""),
            framed=parser.framed,
            coding=headers.get("content-encoding", ""),
        )
        if len(self.call.body) > _LARGE_BODY:
            self.call = replace(self.call, body=b"")  # a long prompt need not live as long as its answer

    def deadline(self, limits: Timeouts, last_ns: int) -> tuple[int, Ending, str]:
        """(by when the next thing must happen, how it ends else, why). last_ns: the last read."""
        if self.opening_ns is not None or self.sent_ns is None:
            since_ns = self.started_ns if self.opening_ns is None else self.opening_ns
            limit_s, ending = limits.connect_s, Ending.NO_CONNECTION
        elif not self.answer.body_begun:
            limit_s, since_ns, ending = limits.first_byte_s, self.sent_ns, Ending.NO_FIRST_BYTE
        else:
            limit_s, since_ns, ending = limits.idle_s, last_ns, Ending.IDLE
        deadline_ns = since_ns + int(limit_s * 1e9)
        total_ns = self.started_ns + int(limits.total_s * 1e9)
        if total_ns < deadline_ns:
            return total_ns, ending, f"not done within the total time of {limits.total_s:g} s"
        return deadline_ns, ending, f"{ending.value} ({limit_s:g} s)"

    def record(
        self, ending: Ending, reason: str, *, end_ns: int, t0_ns: int, response_bytes: int
    ) -> "tuple[RequestRecord, array[int]]":
        """The record, and the chunk times in us: the first since the send, then the gaps."""
        call, answer = self.call, self.answer
        streamed = len(answer.times)
        outcome, error = answer.judge(ending, reason)
        times, visible_ns = answer.times, answer.first_visible_ns
        if self.unstamped and len(times) > streamed:  # a whole body counts at its last read
            self.user_stamps += 1
        chunk_us, coalesced = answer.chunk_us(self.started_ns if self.sent_ns is None else self.sent_ns)
        record = RequestRecord(
            id=call.id,
            class_name=call.class_name,
            session=call.session,
            turn=call.turn,
            model=call.model,
            intended_ns=call.intended_ns,
            sent_ns=None if self.sent_ns is None else self.sent_ns - t0_ns,
            first_token_ns=times[0] - t0_ns if times else None,
            first_visible_ns=None if visible_ns is None else visible_ns - t0_ns,
            last_token_ns=times[-1] - t0_ns if times else None,
            end_ns=end_ns - t0_ns,
            outcome=outcome,
            status=answer.status or None,
            error=error,
            finish_reason=answer.finish_reason,
            service_tier=answer.service_tier,
            chunks=len(times),
            reasoning_chunks=answer.reasoning_chunks,
            tool_calls=answer.tool_calls,
            broken_tool_calls=answer.broken_tool_calls,
            user_stamps=self.user_stamps,
            coalesced=coalesced,
            reused_connection=self.reused,
            request_bytes=self.request_bytes,
            response_bytes=response_bytes,
            asked_output_tokens=call.asked_output_tokens,
            asked_prompt_tokens=call.asked_prompt_tokens,
            sent_prompt_tokens=call.sent_prompt_tokens,
            retries=self.retries,
            connect_ns=self.connect_ns,
            tls_ns=self.tls_ns,
            **head_facts(self.parser.headers, self.secrets),
            **answer.usage_facts(),
        )
        return record, chunk_us
