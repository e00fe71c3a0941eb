"""RequestRecord: what one request left behind. Raw stamps and counts; TTFT, TPOT and the rest are properties.

Times are integer nanoseconds since T0, the common start of the run. s = intended start, a = send,
f = first token of any kind, v = first visible token (content or tool call), e = last token; n = tokens
streamed between f and e by the server's usage. The file form (`to_json`) has them in seconds.
"""

from dataclasses import MISSING, dataclass, fields, make_dataclass
from enum import StrEnum
from sys import intern
from typing import Any

import orjson


class Outcome(StrEnum):
    """How a request ended. Only SUCCESS is a success; success + all others = offered."""

    SUCCESS = "success"
    HTTP_4XX = "http_4xx"
    HTTP_429 = "http_429"
    HTTP_5XX = "http_5xx"
    CONNECT_ERROR = "connect_error"
    TIMEOUT_FIRST = "timeout_first"  # no first byte in time
    STALLED = "stalled"  # idle in mid-stream
    STREAM_CUT = "stream_cut"  # connection ended in mid-stream
    NO_FINISH = "no_finish"  # stream ended in order, without a finish reason or [DONE]
    STREAM_ERROR = "stream_error"  # an error event inside a 200
    BAD_RESPONSE = "bad_response"  # not HTTP, not SSE, not JSON, or not the dialect
    ABORTED = "aborted"  # in flight when the run ended (censored)
    SHED = "shed"  # refused here: budget, credits or --on-429 drop; the in-flight cap queues
    UNSENT = "unsent"  # never sent: the run ended first, or its worker was lost


class SessionState(StrEnum):
    """What a call left its session in; the driver says so, the meter does not know."""

    GOES_ON = "goes_on"  # another call is due
    DONE = "done"  # it was the last one
    FAILED = "failed"  # no whole answer, or no tool call where one was asked for
    CUT = "cut"  # another call was to come, after the run's end


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request. None = it never happened, or the server did not say.

    Token counts are as the server's usage sent them (Chat Completions: completion_tokens excludes
    reasoning); usage_source is "usage", "counted" (from chunks, approximate) or "none".
    cost_usd is exact, as text, with cost_source "billed" (the server's), "computed" (from usage) or
    "estimated"; the meter leaves both None and the bill fills them in.
    chunks counts content-carrying chunks, whose times stand in the run's chunk file. connect_ns and tls_ns
    are of the request that opened its connection. attempts: times it was sent by policy; sent_ns and what
    the server said are of the last. throttled_ns: waited by rule (Retry-After, backoff, budget); retried_ns:
    spent in attempts before the last, which cost retry_cost_usd (estimated). server_*: the server's own
    timing (x-metrics-*). server_tools: calls that the server made, by its own names.
    """

    id: int
    class_name: str
    session: int | None
    turn: int
    model: str
    intended_ns: int
    sent_ns: int | None
    first_token_ns: int | None
    first_visible_ns: int | None
    last_token_ns: int | None
    end_ns: int
    outcome: Outcome
    status: int | None = None
    error: str = ""
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    reasoning_tokens: int | None = None
    usage_source: str = "none"
    billed_ticks: int | None = None
    service_tier: str | None = None
    chunks: int = 0
    reasoning_chunks: int = 0
    tool_calls: int = 0
    user_stamps: int = 0  # chunks stamped in user space, not by the kernel
    coalesced: int = 0  # chunks that shared a read with the one before
    reused_connection: bool = False
    request_bytes: int = 0
    response_bytes: int = 0
    asked_output_tokens: int | None = None
    cost_usd: str | None = None
    cost_source: str | None = None
    retries: int = 0  # sent again because a kept-alive connection turned out to be closed
    usage_note: str = ""  # what does not add up in the server's usage
    request_id: str | None = None
    retry_after_s: float | None = None
    server_ttft_s: float | None = None
    server_itl_s: float | None = None
    server_e2e_s: float | None = None
    connect_ns: int | None = None
    tls_ns: int | None = None
    attempts: int = 1
    throttled_ns: int = 0
    retried_ns: int = 0
    retry_cost_usd: str | None = None
    server_tools: dict[str, int] | None = None
    session_state: str | None = None  # a SessionState; None: a request of its own
    asked_prompt_tokens: int | None = None  # as drawn; sent: as it was made, by the run's measure of text
    sent_prompt_tokens: int | None = None
    broken_tool_calls: int = 0  # of tool_calls, those whose arguments are no JSON object

    @property
    def ok(self) -> bool:
        return self.outcome is Outcome.SUCCESS

    @property
    def ttft_s(self) -> float | None:
        """f - s, from the intended start, less what was waited by rule."""
        return _seconds(self.first_token_ns, self.intended_ns + self.throttled_ns)

    @property
    def service_ttft_s(self) -> float | None:
        """f - a, from the send."""
        return _seconds(self.first_token_ns, self.sent_ns)

    @property
    def ttfvt_s(self) -> float | None:
        """v - s, less what was waited by rule."""
        return _seconds(self.first_visible_ns, self.intended_ns + self.throttled_ns)

    @property
    def e2e_s(self) -> float | None:
        """e - s, less what was waited by rule: ends at the last token, not at [DONE]."""
        return _seconds(self.last_token_ns, self.intended_ns + self.throttled_ns)

    @property
    def client_lag_s(self) -> float | None:
        """a - s, less what the target took (connect, TLS, earlier attempts) and what was waited by rule: the
        load generator's own delay.
        """
        others_ns = (self.connect_ns or 0) + (self.tls_ns or 0) + self.throttled_ns + self.retried_ns
        return _seconds(self.sent_ns, self.intended_ns + others_ns)

    @property
    def reasoning_streamed(self) -> bool:
        """Whether reasoning came token by token (then it counts in n), or as a summary (then it does not)."""
        return self.reasoning_chunks > 0 and 2 * self.reasoning_chunks >= (self.reasoning_tokens or 0)

    @property
    def tpot_s(self) -> float | None:
        """(e - f)/(n - 1), from v where reasoning is not streamed; None if n < 2 or all came at once."""
        if self.completion_tokens is None or self.last_token_ns is None:
            return None
        if self.reasoning_streamed:
            first, n = self.first_token_ns, self.completion_tokens + (self.reasoning_tokens or 0)
        else:
            first, n = self.first_visible_ns, self.completion_tokens
        if first is None or n < 2 or self.last_token_ns <= first:
            return None
        return (self.last_token_ns - first) / 1e9 / (n - 1)

    def to_json(self) -> dict[str, Any]:
        """The line of requests.jsonl: times in seconds since T0, class_name as "class"."""
        row: dict[str, Any] = {}
        for name in self.__slots__:
            value = getattr(self, name)
            if name == "class_name":
                row["class"] = value
            elif name.endswith("_ns"):
                row[name[:-3] + "_s"] = None if value is None else round(value / 1e9, 9)
            else:
                row[name] = value.value if isinstance(value, Outcome) else value
        return row

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> "RequestRecord":
        """The inverse of to_json; a newer writer's keys are left aside. Raises KeyError or ValueError."""
        if tuple(row) == _KEYS:
            values = list(row.values())
        else:  # an older writer's row: what it did not know has its default
            values = [row[key] if key in row else _DEFAULTS[key] for key in _KEYS]
        for place in _TIMES:
            value = values[place]
            if value is not None:
                values[place] = round(value * 1e9)
        for place in _NAMES:
            value = values[place]
            if value is not None:
                values[place] = intern(value)
        values[_OUTCOME] = _OUTCOMES[values[_OUTCOME]]
        # a frozen class's __init__ takes four times the time, and a run is read in a hundred thousand of them
        record: RequestRecord = _Open(*values)
        record.__class__ = cls
        return record


def _key(name: str) -> str:
    """The name of a field in the file form."""
    if name == "class_name":
        return "class"
    return name[:-3] + "_s" if name.endswith("_ns") else name


_FIELDS = fields(RequestRecord)
# orjson makes each key once: those of a row that it read are these very objects, quick to compare
_KEYS = tuple(orjson.loads(orjson.dumps({_key(field.name): None for field in _FIELDS})))
_DEFAULTS = {_key(field.name): field.default for field in _FIELDS if field.default is not MISSING}
_TIMES = tuple(place for place, field in enumerate(_FIELDS) if field.name.endswith("_ns"))
# a hundred thousand records have a few values of these: shared, they are quick to sort out and take no room
_NAMES = tuple(map(_KEYS.index, ("class", "model", "usage_source", "cost_source")))
_OUTCOME = _KEYS.index("outcome")
_OUTCOMES = {outcome.value: outcome for outcome in Outcome}
# the same slots, not frozen: an object of it can become a record
_Open: Any = make_dataclass("_Open", [field.name for field in _FIELDS], slots=True)


def _seconds(end_ns: int | None, start_ns: int | None) -> float | None:
    return None if end_ns is None or start_ns is None else (end_ns - start_ns) / 1e9
