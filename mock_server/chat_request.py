"""ChatRequest: the body of POST /v1/chat/completions, read field by field."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from mock_server.choices import INCLUDE_USAGE_WHEN_UNSET, MAX_TOOLS
from mock_server.refusals import invalid_argument, not_json, wrong_type

ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
TOOL_CHOICES = frozenset({"auto", "none", "required"})


@dataclass(frozen=True, slots=True)
class Tool:
    name: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What was asked. None: the field was absent or null.

    tool_choice is "auto", "none", "required", or a tool's name with tool_named True. schema is set for
    response_format json_schema, and {} asks for any JSON object.
    """

    model: str
    contents: tuple[str, ...]  # the text of every message, in order
    last_role: str
    stream: bool
    include_usage: bool
    max_visible_tokens: int | None
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
    unsupported: tuple[str, ...]  # fields that models which reason refuse


def parse_chat(raw: bytes) -> ChatRequest:
    """Raises RefusalError: 400 for what is not JSON, 422 for wrong types, 400 for values that are refused."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise not_json(str(error)) from None
    if not isinstance(body, dict):
        raise wrong_type("expected a JSON object")
    model = _field(body, "model", str)
    if model is None:
        raise wrong_type("missing field `model`")
    messages = _field(body, "messages", list)
    if messages is None:
        raise wrong_type("missing field `messages`")
    if not messages:
        raise invalid_argument("Messages cannot be empty.")
    contents = tuple(_content(index, message) for index, message in enumerate(messages))
    _refuse_unserved(body)
    tools, tools_json = _tools(body)
    choice, named = _tool_choice(body, tools)
    options = _field(body, "stream_options", dict) or {}
    include = _field(options, "include_usage", bool)
    return ChatRequest(
        model=model,
        contents=contents,
        last_role=messages[-1]["role"],
        stream=bool(_field(body, "stream", bool)),
        include_usage=INCLUDE_USAGE_WHEN_UNSET if include is None else include,
        max_visible_tokens=_max_tokens(body),
        reasoning_effort=_field(body, "reasoning_effort", str),
        tools=tools,
        tools_json=tools_json,
        tool_choice=choice,
        tool_named=named,
        parallel_tool_calls=_field(body, "parallel_tool_calls", bool) is not False,
        schema=_schema(body),
        service_tier=_field(body, "service_tier", str) or "default",
        cache_key=_field(body, "prompt_cache_key", str),
        seed=_field(body, "seed", int),
        unsupported=tuple(
            name for name in ("stop", "presence_penalty", "frequency_penalty") if body.get(name)
        ),
    )


def _field(body: Mapping[str, Any], name: str, kind: type) -> Any:
    """The value where it is of this kind (bool is no int); None where absent or null."""
    value = body.get(name)
    if value is None or (isinstance(value, kind) and not (kind is int and isinstance(value, bool))):
        return value
    raise wrong_type(f"{name}: invalid type: {_json_type(value)}, expected {_NAMES[kind]}")


_NAMES: Mapping[type, str] = {
    str: "a string",
    int: "an integer",
    bool: "a boolean",
    list: "a sequence",
    dict: "a map",
}


def _json_type(value: object) -> str:
    if value is None:
        return "null"
    return {
        bool: "boolean",
        int: "integer",
        float: "floating point",
        str: "string",
        list: "sequence",
        dict: "map",
    }[type(value)]


def _content(index: int, message: object) -> str:
    """The text of one message; an assistant's tool calls are none."""
    if not isinstance(message, dict):
        raise wrong_type(f"messages[{index}]: invalid type: {_json_type(message)}, expected a map")
    role = _field(message, "role", str)
    if role not in ROLES:
        raise wrong_type(
            f"messages[{index}].role: unknown variant `{role}`, expected one of {_listed(ROLES)}"
        )
    content = message.get("content")
    if content is not None:
        return _text(index, content)
    if role != "assistant":
        raise wrong_type(f"messages[{index}]: missing field `content`")
    return ""


def _text(index: int, content: object) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise wrong_type(
            f"messages[{index}].content: invalid type: {_json_type(content)}, expected a string or a sequence"
        )
    texts = []
    for part in content:
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise wrong_type(f"messages[{index}].content: every part must be a map with a `type`")
        if part["type"] != "text" or not isinstance(part.get("text"), str):
            raise invalid_argument(
                f"messages[{index}].content: this mock takes text parts only, not {part['type']}."
            )
        texts.append(part["text"])
    return "".join(texts)


def _refuse_unserved(body: Mapping[str, Any]) -> None:
    if _field(body, "n", int) not in (None, 1):
        raise invalid_argument("n: this mock answers with one choice only.")
    if _field(body, "deferred", bool):
        raise invalid_argument("deferred: this mock does not serve deferred completions.")
    tier = _field(body, "service_tier", str)
    if tier not in (None, "default", "priority"):
        raise invalid_argument(f"service_tier: {tier} is not one of default, priority.")


def _max_tokens(body: Mapping[str, Any]) -> int | None:
    """max_completion_tokens, else the deprecated max_tokens: a cap on visible tokens."""
    for name in ("max_completion_tokens", "max_tokens"):
        value = _field(body, name, int)
        if value is None:
            continue
        if value < 1:
            raise invalid_argument(f"{name} must be at least 1, got {value}.")
        return int(value)
    return None


def _tools(body: Mapping[str, Any]) -> tuple[tuple[Tool, ...], bytes]:
    given = _field(body, "tools", list)
    if not given:
        return (), b""
    if len(given) > MAX_TOOLS:
        raise invalid_argument(f"tools: at most {MAX_TOOLS} tools, got {len(given)}.")
    tools = []
    for index, tool in enumerate(given):
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise wrong_type(f"tools[{index}]: expected {{type: function, function: {{name, parameters}}}}")
        parameters = function.get("parameters")
        if parameters is not None and not isinstance(parameters, dict):
            raise wrong_type(f"tools[{index}].function.parameters: expected a map")
        tools.append(Tool(function["name"], parameters or {"type": "object", "properties": {}}))
    return tuple(tools), orjson.dumps(given)


def _tool_choice(body: Mapping[str, Any], tools: tuple[Tool, ...]) -> tuple[str, bool]:
    choice = body.get("tool_choice")
    if choice is None:
        return "auto", False
    if isinstance(choice, str):
        if choice not in TOOL_CHOICES:
            raise wrong_type(
                f"tool_choice: unknown variant `{choice}`, expected one of {_listed(TOOL_CHOICES)}"
            )
        if choice == "required" and not tools:
            raise invalid_argument("tool_choice is required, but no tools were given.")
        return choice, False
    function = choice.get("function") if isinstance(choice, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str):
        raise wrong_type("tool_choice: expected a string or {type: function, function: {name}}")
    if name not in {tool.name for tool in tools}:
        raise invalid_argument(f"tool_choice names the tool {name}, which is not among the tools given.")
    return name, True


def _schema(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    wanted = _field(body, "response_format", dict)
    kind = wanted.get("type") if wanted else "text"
    if kind == "text":
        return None
    if kind == "json_object":
        return {}
    inner = wanted.get("json_schema") if kind == "json_schema" else None
    schema = inner.get("schema") if isinstance(inner, dict) else None
    if not isinstance(schema, dict):
        raise wrong_type(
            "response_format: expected text, json_object, or json_schema with a `json_schema.schema` map"
        )
    return schema


def _listed(names: frozenset[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))
