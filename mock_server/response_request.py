"""ResponseRequest: the body of POST /v1/responses, turned into what chat completions ask for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mock_server.chat_request import (
    SERVICE_TIERS,
    ChatRequest,
    check_ignored,
    penalties,
    role_of,
    text_of,
)
from mock_server.fields import field, json_object, one_of, positive, required
from mock_server.refusals import invalid_argument, wrong_type
from mock_server.tool_fields import response_tools, wanted_schema

_TEXT_PARTS = ("input_text", "output_text", "text")
_NO_INPUT = "data did not match any variant of untagged enum ModelInput"  # as recorded
_ECHOED: Mapping[str, tuple[type, Any]] = {  # field of the response -> type, what it says when unset
    "temperature": (float, 0.7),
    "top_p": (float, 0.95),
    "user": (str, None),
    "metadata": (dict, {}),
    "top_logprobs": (int, 0),
    "prompt_cache_key": (str, None),
    "max_tool_calls": (int, None),
    "safety_identifier": (str, None),
    "instructions": (str, None),
    "presence_penalty": (float, 0.0),
    "frequency_penalty": (float, 0.0),
}


@dataclass(frozen=True, slots=True)
class Turn:
    """An earlier response of the conversation: its request's body as it came, and the text of its answer."""

    chunks: tuple[bytes, ...]
    output: str

    @property
    def size_bytes(self) -> int:
        return sum(map(len, self.chunks)) + len(self.output)


@dataclass(frozen=True, slots=True)
class ResponseRequest:
    """chat decides the answer; echo holds what the response repeats of the request."""

    chat: ChatRequest
    previous_id: str | None
    store: bool
    echo: Mapping[str, Any]


def parse_response(raw: bytes, history: Sequence[Turn] = ()) -> ResponseRequest:
    """history: of previous_response_id, oldest first; their instructions do not carry over.

    Raises RefusalError: 400 for what is not JSON, 422 for wrong types, 400 for values that are refused.
    """
    body = json_object(raw)
    model = required(body, "model", str)
    contents, last_role = _contents(body)
    if field(body, "background", bool):
        raise invalid_argument("background: this mock answers in the foreground only.")
    check_ignored(body)
    tools = response_tools(body)
    text, reasoning = field(body, "text", dict) or {}, field(body, "reasoning", dict) or {}
    format_ = field(text, "format", dict)
    echo = {name: _echoed(body, name) for name in _ECHOED}
    echo["max_output_tokens"] = positive(body, "max_output_tokens")
    echo["previous_response_id"] = field(body, "previous_response_id", str)
    echo["store"] = field(body, "store", bool) is not False
    echo["truncation"] = one_of(body, "truncation", ("auto", "disabled")) or "disabled"
    echo["reasoning"] = {name: field(reasoning, name, str) for name in ("effort", "summary")}
    echo["text"] = {"format": format_ or {"type": "text"}}
    echo["tools"] = field(body, "tools", list) or []
    echo["tool_choice"] = body.get("tool_choice") or "auto"
    echo["parallel_tool_calls"] = tools.parallel
    earlier: list[str] = []
    for turn in history:
        earlier += [*_contents(json_object(b"".join(turn.chunks)))[0], turn.output]
    chat = ChatRequest(
        model=model,
        contents=(echo["instructions"] or "", *earlier, *contents),
        last_role=last_role,
        stream=bool(field(body, "stream", bool)),
        include_usage=True,
        choices=1,
        deferred=False,
        max_visible_tokens=echo["max_output_tokens"],
        stop=(),
        reasoning_effort=echo["reasoning"]["effort"],
        tools=tools.functions,
        tools_json=tools.json,
        tool_choice=tools.choice,
        tool_named=tools.named,
        parallel_tool_calls=tools.parallel,
        schema=wanted_schema("text.format", format_, None),
        service_tier=one_of(body, "service_tier", SERVICE_TIERS) or "default",
        cache_key=echo["prompt_cache_key"],
        seed=None,
        penalties=penalties(body),
    )
    return ResponseRequest(chat, echo["previous_response_id"], echo["store"], echo)


def _echoed(body: Mapping[str, Any], name: str) -> Any:
    kind, unset = _ECHOED[name]
    value = field(body, name, kind)
    return unset if value is None else value


def _contents(body: Mapping[str, Any]) -> tuple[list[str], str]:
    """The texts of the input and the role of its last item."""
    given = body.get("input")
    if isinstance(given, str):
        return [given], "user"
    if not isinstance(given, list):
        raise wrong_type(_NO_INPUT)
    if not given:
        raise invalid_argument("Input cannot be empty.")
    read = [_item(f"input[{index}]", item) for index, item in enumerate(given)]
    return [text for text, _ in read], read[-1][1]


def _item(place: str, item: object) -> tuple[str, str]:
    """The text of one item and the role it stands for; calls and reasoning of earlier turns are no text."""
    if not isinstance(item, dict):
        raise wrong_type(_NO_INPUT)
    kind = field(item, "type", str) or "message"
    if kind == "message":
        role = role_of(place, item)
        return text_of(f"{place}.content", item.get("content"), _TEXT_PARTS), role
    if kind == "function_call_output":
        required(item, "call_id", str)
        return text_of(f"{place}.output", item.get("output"), _TEXT_PARTS), "tool"
    if kind == "function_call":
        for name in ("call_id", "name", "arguments"):
            required(item, name, str)
    if kind in ("function_call", "reasoning") or kind.endswith("_call"):
        return "", "assistant"
    raise invalid_argument(f"{place}: this mock takes no items of type {kind}.")
