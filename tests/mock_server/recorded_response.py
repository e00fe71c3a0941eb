"""A grok-4.3 stream of /v1/responses as recorded on 2026-07-28, its 25 events told by their fields."""

import json
from typing import Any

_ID = "0d7f672c-6cf5-9f88-af4b-a8b16c2c965d"
_RS, _MSG = f"rs_{_ID}", f"msg_{_ID}"
_SAID = 'The user says: "Reply with exactly: hello"\n'
_PART = {"type": "output_text", "text": "hello", "logprobs": [], "annotations": []}
_REASONING = {
    "id": _RS,
    "summary": [{"text": _SAID, "type": "summary_text"}],
    "type": "reasoning",
    "status": "completed",
}
_MESSAGE = {"content": [_PART], "id": _MSG, "role": "assistant", "type": "message", "status": "completed"}
USAGE = {
    "input_tokens": 197,
    "input_tokens_details": {"cached_tokens": 192},
    "output_tokens": 199,
    "output_tokens_details": {"reasoning_tokens": 198},
    "total_tokens": 396,
    "num_sources_used": 0,
    "num_server_side_tools_used": 0,
    "cost_in_usd_ticks": 5421500,
    "context_details": {"input_tokens": 197, "output_tokens": 199},
}
RESPONSE: dict[str, Any] = json.loads(
    f"""{{"created_at":1785220808,"completed_at":1785220809,"id":"{_ID}","max_output_tokens":16,
 "model":"grok-4.3","object":"response","output":[],"parallel_tool_calls":true,"previous_response_id":null,
 "reasoning":{{"effort":null,"summary":null}},"temperature":0.699999988079071,
 "text":{{"format":{{"type":"text"}}}},"tool_choice":"auto","tools":[],"top_p":0.949999988079071,"usage":null,
 "user":null,"incomplete_details":null,"status":"completed","store":true,
 "metadata":{{"system_fingerprint":"fp_eb3c003fc66c14ed"}},"background":false,"service_tier":"default",
 "truncation":"disabled","top_logprobs":0,"presence_penalty":0.0,"frequency_penalty":0.0,
 "prompt_cache_key":null,"max_tool_calls":null,"safety_identifier":null,"error":null,"instructions":null}}"""
)
FINISHED = {**RESPONSE, "output": [_REASONING, _MESSAGE], "usage": USAGE}
_STARTED = {**RESPONSE, "completed_at": None, "status": "in_progress"}


def _summary(kind: str, **fields: Any) -> dict[str, Any]:
    text = {"text": fields.pop("text")} if "text" in fields else {}
    delta = {"delta": fields.pop("delta")} if "delta" in fields else {}
    return {"type": kind, **delta, "item_id": _RS, "output_index": 0, **fields, "summary_index": 0, **text}


def _content(kind: str, **fields: Any) -> dict[str, Any]:
    delta = {"delta": fields.pop("delta")} if "delta" in fields else {}
    return {"type": kind, "content_index": 0, **delta, "item_id": _MSG, "output_index": 1, **fields}


_WORDS = ["The", " user", " says", ":", ' "', "Reply", " with", " exactly", ":", " hello", '"\n']
_EVENTS: list[dict[str, Any]] = [
    {"type": "response.created", "response": _STARTED},
    {"type": "response.in_progress", "response": _STARTED},
    {
        "type": "response.output_item.added",
        "item": {**_REASONING, "summary": [], "status": "in_progress"},
        "output_index": 0,
    },
    _summary("response.reasoning_summary_part.added", part={"text": "", "type": "summary_text"}),
    *[_summary("response.reasoning_summary_text.delta", delta=word) for word in _WORDS],
    _summary("response.reasoning_summary_text.done", text=_SAID),
    _summary("response.reasoning_summary_part.done", part={"text": _SAID, "type": "summary_text"}),
    {"type": "response.output_item.done", "item": _REASONING, "output_index": 0},
    {
        "type": "response.output_item.added",
        "item": {**_MESSAGE, "content": [], "status": "in_progress"},
        "output_index": 1,
    },
    _content("response.content_part.added", part={**_PART, "text": ""}),
    _content("response.output_text.delta", delta="hello", logprobs=[]),
    _content("response.output_text.done", text="hello", logprobs=[]),
    _content("response.content_part.done", part=_PART),
    {"type": "response.output_item.done", "item": _MESSAGE, "output_index": 1},
    {"type": "response.completed", "response": FINISHED},
]
EVENTS = [{"sequence_number": number, **event} for number, event in enumerate(_EVENTS)]
