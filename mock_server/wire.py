"""The shapes of answers on the wire: headers, usage, whole completions and the parts of SSE events."""

from collections.abc import MutableMapping
from dataclasses import dataclass
from random import getrandbits
from typing import Any

import orjson

from mock_server.answer import ToolCall

SERVER = "servebench mock"
_CLOSE, _CHUNKED = "connection: close\r\n", "transfer-encoding: chunked\r\n"
DONE = b"data: [DONE]\n\n"
# as recorded, but for the server's name and what Cloudflare adds
_COMMON = {
    "server": SERVER,
    "strict-transport-security": "max-age=31536000",
    "x-data-retention": "general",
    "x-zero-data-retention": "false",
    "access-control-allow-origin": "*",
    "access-control-expose-headers": "*",
}
_COMMON_BLOCK = "".join(f"{name}: {value}\r\n" for name, value in _COMMON.items())


@dataclass(slots=True)
class Envelope:
    """What is constant over an answer. limits: its x-ratelimit header lines."""

    id: str
    model: str
    fingerprint: str
    service_tier: str
    limits: str


@dataclass(slots=True)
class Usage:
    """Chat Completions' counts: completion_tokens excludes reasoning, total includes it."""

    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    cost_ticks: int

    def to_json(self) -> dict[str, Any]:
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens + self.reasoning_tokens,
            "prompt_tokens_details": {
                "text_tokens": self.prompt_tokens,
                "audio_tokens": 0,
                "image_tokens": 0,
                "cached_tokens": self.cached_tokens,
            },
            "completion_tokens_details": {
                "reasoning_tokens": self.reasoning_tokens,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
            "num_sources_used": 0,
            "cost_in_usd_ticks": self.cost_ticks,
        }


def new_id() -> str:
    """A bare UUID (version 4), of the answer and of its x-request-id."""
    digits = f"{getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def traceparent(request_id: str) -> str:
    """W3C's, with the request id as the trace id: the two name the same thing in two places."""
    digits = request_id.replace("-", "")
    return f"00-{digits}-{digits[16:]}-01"


def dress(headers: MutableMapping[str, str]) -> None:
    """Adds what every answer has, and a request id where the answer has none of its own."""
    request_id = headers.setdefault("x-request-id", new_id())
    headers["traceparent"] = traceparent(request_id)
    headers.update(_COMMON)


def whole_head(
    envelope: Envelope, *, length: int, ttft_s: float, mean_itl_s: float, e2e_s: float, keep_alive: bool
) -> bytes:
    """Status line and headers of a whole answer, x-metrics of the server's own timing among them."""
    return (
        f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n"
        f"{_COMMON_BLOCK}{'' if keep_alive else _CLOSE}x-request-id: {envelope.id}\r\n"
        f"traceparent: {traceparent(envelope.id)}\r\n{envelope.limits}"
        f"x-metrics-ttft-ms: {ttft_s * 1e3:.1f}\r\nx-metrics-mean-itl-ms: {mean_itl_s * 1e3:.1f}\r\n"
        f"x-metrics-e2e-ms: {e2e_s * 1e3:.1f}\r\n\r\n"
    ).encode()


def stream_head(envelope: Envelope, *, ttft_s: float, chunked: bool) -> bytes:
    """Status line and headers of a stream, as they go on the socket with its first token."""
    return (
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n"
        f"{_COMMON_BLOCK}{_CHUNKED if chunked else _CLOSE}x-request-id: {envelope.id}\r\n"
        f"traceparent: {traceparent(envelope.id)}\r\n{envelope.limits}"
        f"x-metrics-ttft-ms: {ttft_s * 1e3:.1f}\r\n\r\n"
    ).encode()


def event_parts(envelope: Envelope) -> tuple[bytes, bytes, bytes]:
    """What stands before the value of `created` in every event of a stream, between it and that of `choices`,
    and after that."""
    first = {"id": envelope.id, "object": "chat.completion.chunk"}
    last = {"system_fingerprint": envelope.fingerprint, "service_tier": envelope.service_tier}
    return (
        b"data: %b" % orjson.dumps(first)[:-1] + b',"created":',
        b',"model":%b,"choices":' % orjson.dumps(envelope.model),
        b",%b\n\n" % orjson.dumps(last)[1:],
    )


def tool_call_json(call: ToolCall, index: int | None = None) -> dict[str, Any]:
    """index: in a stream only."""
    shape: dict[str, Any] = {"id": call.id, "function": {"name": call.name, "arguments": call.arguments}}
    if index is not None:
        shape["index"] = index
    return {**shape, "type": "function"}


def completion_json(
    envelope: Envelope, *, created: int, choices: list[dict[str, Any]], usage: Usage
) -> bytes:
    return orjson.dumps(
        {
            "id": envelope.id,
            "object": "chat.completion",
            "created": created,
            "model": envelope.model,
            "choices": choices,
            "usage": usage.to_json(),
            "system_fingerprint": envelope.fingerprint,
            "service_tier": envelope.service_tier,
        }
    )
