"""Tools, the choice among them, and the schema an answer must satisfy, as both APIs ask for them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from mock_server.choices import MAX_TOOLS
from mock_server.fields import field, listed
from mock_server.refusals import invalid_argument, wrong_type

TOOL_CHOICES = frozenset({"auto", "none", "required"})
SERVER_TOOLS = (
    "web_search",
    "web_search_preview",
    "x_search",
    "code_interpreter",
    "code_execution",
    "file_search",
    "collections_search",
    "image_generation",
    "mcp",
)
NO_PARAMETERS: Mapping[str, Any] = {"type": "object", "properties": {}}


@dataclass(frozen=True, slots=True)
class Tool:
    name: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Tools:
    """choice is "auto", "none", "required", or a tool's name with named True. json: as it counts."""

    functions: tuple[Tool, ...]
    json: bytes
    choice: str
    named: bool
    parallel: bool


def given_tools(body: Mapping[str, Any]) -> list[Any]:
    given: list[Any] = field(body, "tools", list) or []
    if len(given) > MAX_TOOLS:
        raise invalid_argument(f"tools: at most {MAX_TOOLS} tools, got {len(given)}.")
    return given


def function_tool(place: str, function: Any, shape: str) -> Tool:
    """`function` holds name and parameters. Raises RefusalError."""
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise wrong_type(f"{place}: expected {shape}")
    field(function, "description", str)
    parameters = function.get("parameters")
    if parameters is not None and not isinstance(parameters, dict):
        raise wrong_type(f"{place}.parameters: expected a map")
    return Tool(function["name"], parameters or NO_PARAMETERS)


def chat_tools(body: Mapping[str, Any]) -> Tools:
    """Each under `function`, as chat completions have them. Raises RefusalError."""
    given = given_tools(body)
    shape = "{type: function, function: {name, parameters}}"
    functions = []
    for i, tool in enumerate(given):
        _tool_type(f"tools[{i}]", tool, ("function",))
        functions.append(function_tool(f"tools[{i}].function", tool.get("function"), shape))
    choice = body.get("tool_choice")
    function = choice.get("function") if isinstance(choice, dict) else None
    return with_choice(body, tuple(functions), given, function, "{type: function, function: {name}}")


def response_tools(body: Mapping[str, Any]) -> Tools:
    """Flat, as responses have them; tools of the server's side are counted and never called."""
    given = given_tools(body)
    functions = [
        function_tool(f"tools[{i}]", tool, "{type: function, name, parameters}")
        for i, tool in enumerate(given)
        if _tool_type(f"tools[{i}]", tool, ("function", *SERVER_TOOLS)) == "function"
    ]
    return with_choice(body, tuple(functions), given, body.get("tool_choice"), "{type: function, name}")


def _tool_type(place: str, tool: Any, known: tuple[str, ...]) -> str:
    kind = tool.get("type") if isinstance(tool, dict) else None
    if not isinstance(kind, str):
        raise wrong_type(f"{place}: expected a map with a `type`")
    if kind not in known:
        raise wrong_type(f"{place}.type: unknown variant `{kind}`, expected one of {listed(known)}")
    return kind


def with_choice(
    body: Mapping[str, Any], functions: tuple[Tool, ...], given: list[Any], chosen: Any, shape: str
) -> Tools:
    """chosen: what holds the name where tool_choice is a map. Raises RefusalError."""
    parallel = field(body, "parallel_tool_calls", bool) is not False
    choice = body.get("tool_choice")
    name: Any = "auto"
    named = False
    if isinstance(choice, str):
        if choice not in TOOL_CHOICES:
            raise wrong_type(
                f"tool_choice: unknown variant `{choice}`, expected one of {listed(TOOL_CHOICES)}"
            )
        if choice == "required" and not functions:
            raise invalid_argument("tool_choice is required, but no tools were given.")
        name = choice
    elif choice is not None:
        name, named = chosen.get("name") if isinstance(chosen, dict) else None, True
        if not isinstance(name, str):
            raise wrong_type(f"tool_choice: expected a string or {shape}")
        if name not in {tool.name for tool in functions}:
            raise invalid_argument(f"tool_choice names the tool {name}, which is not among the tools given.")
    return Tools(functions, orjson.dumps(given) if given else b"", name, named, parallel)


def wanted_schema(place: str, wanted: Any, inner: str | None) -> Mapping[str, Any] | None:
    """None: text. {}: any JSON object. inner: the key under which json_schema holds its schema."""
    if wanted is None or wanted.get("type") == "text":
        return None
    kind = wanted.get("type")
    if kind == "json_object":
        return {}
    holder = wanted if inner is None else wanted.get(inner)
    schema = holder.get("schema") if kind == "json_schema" and isinstance(holder, dict) else None
    if not isinstance(schema, dict):
        where = "schema" if inner is None else f"{inner}.schema"
        raise wrong_type(f"{place}: expected text, json_object, or json_schema with a `{where}` map")
    return schema
