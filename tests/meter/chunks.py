"""Chunks of Chat Completions as a server words them, and a reader that has read some."""

import json
from typing import Any

from servebench.meter.stream import AnswerReader

SSE = "text/event-stream; charset=utf-8"
XAI_USAGE = {
    "prompt_tokens": 12,
    "completion_tokens": 1,
    "total_tokens": 303,
    "prompt_tokens_details": {"text_tokens": 12, "audio_tokens": 0, "image_tokens": 0, "cached_tokens": 11},
    "completion_tokens_details": {"reasoning_tokens": 290, "audio_tokens": 0},
    "num_sources_used": 0,
    "cost_in_usd_ticks": 1466250,
}


def event(payload: object, end: str = "\n") -> bytes:
    text = payload if isinstance(payload, str) else json.dumps(payload, separators=(",", ":"))
    return f"data: {text}{end}{end}".encode()


def chunk(delta: dict[str, Any], created: int = 1, **more: Any) -> dict[str, Any]:
    finish = {"finish_reason": more.pop("finish")} if "finish" in more else {}
    return {
        "id": "73270000",
        "object": "chat.completion.chunk",
        "created": created,
        "model": "grok-4.3",
        "choices": [{"index": 0, "delta": delta} | finish],
        "system_fingerprint": "fp_2a885414fb",
    } | more


def read(
    pieces: list[bytes], *, status: int = 200, content_type: str = SSE, framed: bool = True, step: int = 1
) -> AnswerReader:
    reader = AnswerReader()
    reader.begin(status, content_type, framed=framed)
    for place, piece in enumerate(pieces):
        reader.feed(piece, 1000 * (place // step + 1))
    return reader


def content(text: str) -> bytes:
    return event(chunk({"content": text}))


FINISH = event(chunk({}, finish="stop"))
DONE = event("[DONE]")
