"""ChatRequest: the body of POST /v1/chat/completions, read field by field."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from mock_server.choices import INCLUDE_USAGE_WHEN_UNSET, MAX_CHOICES, MAX_STOPS
from mock_server.fields import bounded, field, json_object, json_type, listed, one_of, positive, required
from mock_server.refusals import invalid_argument, wrong_type
from mock_server.tool_fields import Tool, chat_tools, wanted_schema

ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
SERVICE_TIERS = ("default", "priority")
# taken and ignored: name -> type and bounds
_IGNORED_NUMBERS: Mapping[str, tuple[type, float, float]] = {
    "temperature": (float, 0, 2),
    "top_p": (float, 0, 1),
    "top_logprobs": (int, 0, 8),
}
_IGNORED: Mapping[str, type] = {
    "logprobs": bool,
    "logit_bias": dict,
    "user": str,
    "search_parameters": dict,
    "web_search_options": dict,
}
_IGNORED_NAMES = frozenset((*_IGNORED_NUMBERS, *_IGNORED))


class ChatRequest(NamedTuple):
    """What was asked. None: the field was absent or null. A tuple: one is made for each request.

    tool_choice is "auto", "none", "required", or a tool's name with tool_named True. schema is set for
    response_format json_schema, and {} asks for any JSON object.
    """

    model: str
    contents: tuple[str, ...]  # the text of every message, in order
    last_role: str
    stream: bool
    include_usage: bool
    choices: int
    deferred: bool
    max_visible_tokens: int | None
    stop: tuple[str, ...]
    reasoning_effort: str | None
    tools: tuple[Tool, ...]
    tools_json: bytes
    tool_choice: str
    tool_named: bool
    parallel_tool_calls: bool
    schema: Mapping[str, Any] | None
    service_tier: str
    cache_key: str | None
    seed: int | None
    penalties: tuple[str, ...]  # those set, which models that reason refuse


def parse_chat(raw: bytes) -> ChatRequest:
    """Raises RefusalError: 400 for what is not JSON, 422 for wrong types, 400 for values that are refused."""
    body = json_object(raw)
    model = required(body, "model", str)
    messages = required(body, "messages", list)
    if not messages:
        raise invalid_argument("Messages cannot be empty.")
    contents = tuple(_content(index, message) for index, message in enumerate(messages))
    check_ignored(body)
    tools = chat_tools(body)
    options = field(body, "stream_options", dict) or {}
    include = field(options, "include_usage", bool)
    stream, deferred = bool(field(body, "stream", bool)), bool(field(body, "deferred", bool))
    if stream and deferred:
        raise invalid_argument("deferred: a deferred completion can't be streamed.")
    return ChatRequest(
        model=model,
        contents=contents,
        last_role=messages[-1]["role"],
        stream=stream,
        include_usage=INCLUDE_USAGE_WHEN_UNSET if include is None else include,
        choices=bounded(body, "n", int, 1, MAX_CHOICES) or 1,
        deferred=deferred,
        max_visible_tokens=_max_tokens(body),
        stop=_stop(body),
        reasoning_effort=field(body, "reasoning_effort", str),
        tools=tools.functions,
        tools_json=tools.json,
        tool_choice=tools.choice,
        tool_named=tools.named,
        parallel_tool_calls=tools.parallel,
        schema=wanted_schema("response_format", field(body, "response_format", dict), "json_schema"),
        service_tier=one_of(body, "service_tier", SERVICE_TIERS) or "default",
        cache_key=field(body, "prompt_cache_key", str),
        seed=field(body, "seed", int),
        penalties=penalties(body),
    )


def check_ignored(body: Mapping[str, Any]) -> None:
    """The fields that change nothing are of their types and in their bounds all the same."""
    for name in sorted(_IGNORED_NAMES.intersection(body)):
        if name in _IGNORED:
            field(body, name, _IGNORED[name])
        else:
            bounded(body, name, *_IGNORED_NUMBERS[name])


def penalties(body: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(
        name for name in ("presence_penalty", "frequency_penalty") if bounded(body, name, float, -2, 2)
    )


def _max_tokens(body: Mapping[str, Any]) -> int | None:
    """max_completion_tokens, else the deprecated max_tokens: a cap on visible tokens."""
    wanted = [positive(body, name) for name in ("max_completion_tokens", "max_tokens")]
    return next((value for value in wanted if value is not None), None)


def _stop(body: Mapping[str, Any]) -> tuple[str, ...]:
    """Sequences that end the text, as one string or a list."""
    value = body.get("stop")
    stops = [value] if isinstance(value, str) else field(body, "stop", list) or []
    if not all(isinstance(stop, str) for stop in stops):
        raise wrong_type("stop: expected a string or a sequence of strings")
    if len(stops) > MAX_STOPS:
        raise invalid_argument(f"stop: at most {MAX_STOPS} sequences, got {len(stops)}.")
    return tuple(stop for stop in stops if stop)


def _content(index: int, message: object) -> str:
    """The text of one message; an assistant's tool calls are none."""
    place = f"messages[{index}]"
    if not isinstance(message, dict):
        raise wrong_type(f"{place}: invalid type: {json_type(message)}, expected a map")
    role_of(place, message)
    for name in ("name", "tool_call_id"):
        field(message, name, str)
    if not all(isinstance(call, dict) for call in field(message, "tool_calls", list) or ()):
        raise wrong_type(f"{place}.tool_calls: expected a sequence of maps")
    content = message.get("content")
    if content is not None:
        return text_of(f"{place}.content", content, ("text",))
    if message["role"] != "assistant":
        raise wrong_type(f"{place}: missing field `content`")
    return ""


def role_of(place: str, message: Mapping[str, Any]) -> str:
    """Raises RefusalError: none, or one that nobody has."""
    role: str | None = field(message, "role", str)
    if role is None:
        raise wrong_type(f"{place}: missing field `role`")
    if role not in ROLES:
        raise wrong_type(f"{place}.role: unknown variant `{role}`, expected one of {listed(ROLES)}")
    return role


def text_of(place: str, content: object, kinds: tuple[str, ...]) -> str:
    """Of a string, or of parts of these kinds. Raises RefusalError, also for an image: none is seen here."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise wrong_type(f"{place}: invalid type: {json_type(content)}, expected a string or a sequence")
    texts = []
    for part in content:
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise wrong_type(f"{place}: every part must be a map with a `type`")
        if part["type"] not in kinds:
            raise invalid_argument(f"{place}: this mock takes text parts only, not {part['type']}.")
        if not isinstance(part.get("text"), str):
            raise wrong_type(f"{place}: a part of type {part['type']} must have a `text`")
        texts.append(part["text"])
    return "".join(texts)
