"""The history of a session as messages, sized to the byte so that each prompt begins with the one before it.

Text that is counted is the messages' content. A tool call's name and arguments stand beside it, as the API
wants them, and are of the schema's own making: `{"city": "text"}`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from servebench.workload.sessions import Step

_MOST_ITEMS = 100  # of a sampled list

Text = Callable[
    [str, int], bytes
]  # (what it is, size) -> exactly size bytes that nothing else of the seed has


def history_messages(
    steps: Sequence[Step],
    *,
    session: int,
    sizes: Sequence[tuple[int, int]],
    tools: Sequence[Mapping[str, Any]],
    text: Text,
) -> list[bytes]:
    """JSON of the messages after the first user message, each with a comma before it.

    sizes: (bytes of the answer, bytes of the result or message) of each step.
    """
    parts: list[bytes] = []
    for k, (step, (answer, added)) in enumerate(zip(steps, sizes, strict=True)):
        parts += [b',{"role":"assistant","content":"', text(f"{session}/answer/{k}", answer), b'"']
        if step.role == "tool":
            call_id, function = f"call_{session:x}_{k}", tools[k % len(tools)]["function"]
            made = {
                "name": function["name"],
                "arguments": orjson.dumps(sample(function.get("parameters", {}))).decode(),
            }
            parts.append(
                b',"tool_calls":' + orjson.dumps([{"id": call_id, "type": "function", "function": made}])
            )
            parts.append(b'},{"role":"tool","tool_call_id":' + orjson.dumps(call_id) + b',"content":"')
        else:
            parts.append(b'},{"role":"user","content":"')
        parts += [text(f"{session}/{step.role}/{k}", added), b'"}']
    return parts


def sample(schema: Any) -> Any:
    """A small value for a JSON schema of the plain kinds; "text" for what it doesn't know."""
    if not isinstance(schema, Mapping):
        return "text"  # true allows anything
    enum = schema.get("enum")
    if isinstance(enum, list | tuple) and enum:
        return enum[0]
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if kind == "object":
        properties = schema.get("properties")
        if not isinstance(properties, Mapping):
            return {}
        required = schema.get("required", properties)
        return {name: sample(value) for name, value in properties.items() if name in required}
    if kind == "array":
        least = schema.get("minItems")
        count = least if isinstance(least, int) and 1 <= least <= _MOST_ITEMS else 1
        return [sample(schema["items"])] * count if "items" in schema else []
    plain: dict[str, Any] = {"integer": 1, "number": 1.5, "boolean": True, "null": None}
    return plain.get(kind, "text") if isinstance(kind, str) else "text"
