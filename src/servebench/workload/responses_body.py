"""A body of POST /v1/chat/completions as one of POST /v1/responses: the same texts, tools and limits.

Responses are not stored (store: false; the API's default keeps them for 30 days). Texts are the same bytes; a
tool's schema stands without its `function` wrapper there, so that prompts with tools are a little shorter.
"""

from typing import Any

import orjson

_RENAMED = {"max_completion_tokens": "max_output_tokens"}
_LEFT_OUT = ("messages", "stream_options", "reasoning_effort", "tools", "tool_choice", "response_format")


def responses_body(chat: bytes) -> bytes:
    """The translated JSON. The order of its keys follows the chat body's."""
    body: dict[str, Any] = orjson.loads(chat)
    made: dict[str, Any] = {"model": body.pop("model"), "input": _items(body["messages"]), "store": False}
    made |= {_RENAMED.get(name, name): value for name, value in body.items() if name not in _LEFT_OUT}
    if "reasoning_effort" in body:
        made["reasoning"] = {"effort": body["reasoning_effort"]}
    if "tools" in body:
        made["tools"] = [{"type": "function", **tool["function"]} for tool in body["tools"]]
    if "tool_choice" in body:
        choice = body["tool_choice"]
        named = isinstance(choice, dict)
        made["tool_choice"] = {"type": "function", "name": choice["function"]["name"]} if named else choice
    if "response_format" in body:
        format_ = body["response_format"]
        made["text"] = {"format": {"type": format_["type"], **format_.get("json_schema", {})}}
    return orjson.dumps(made)


def _items(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    for message in messages:
        role, content = message["role"], message.get("content")
        if role == "tool":
            output = "".join(part["text"] for part in content) if isinstance(content, list) else content
            items.append(
                {"type": "function_call_output", "call_id": message["tool_call_id"], "output": output}
            )
            continue
        if content or not message.get("tool_calls"):
            items.append({"role": role, "content": _content(role, content)})
        calls = message.get("tool_calls") or ()
        items += [{"type": "function_call", "call_id": call["id"], **call["function"]} for call in calls]
    return items


def _content(role: str, content: Any) -> Any:
    """Text as it stands; parts under the names that the role's side has."""
    if not isinstance(content, list):
        return content or ""
    kind = "output_text" if role == "assistant" else "input_text"
    return [{**part, "type": kind} if part.get("type") == "text" else part for part in content]
