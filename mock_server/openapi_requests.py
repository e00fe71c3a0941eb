"""What is asked, as the JSON schemas of /openapi.json."""

from mock_server.chat_request import ROLES, SERVICE_TIERS
from mock_server.choices import MAX_CHOICES, MAX_STOPS, MAX_TOOLS
from mock_server.fields import MAX_INTEGER
from mock_server.schema_words import (
    BOOLEAN,
    INTEGER,
    MAP,
    STRING,
    Schema,
    an_array,
    an_object,
    maybe,
    nullable,
)
from mock_server.tool_fields import SERVER_TOOLS, TOOL_CHOICES

_LIMIT: Schema = {"type": "integer", "minimum": 1, "maximum": MAX_INTEGER}
_TOOL_CHOICE: Schema = {"type": "string", "enum": sorted(TOOL_CHOICES - {"required"})}
_EFFORT: Schema = {"type": "string", "enum": ["none", "low", "medium", "high", "xhigh"]}
_FORMAT: Schema = an_object({"type": {"type": "string", "enum": ["text", "json_object"]}})


def requests(model: Schema) -> dict[str, Schema]:
    """model: the schema of its name."""
    items = {"anyOf": [STRING, an_array(_response_item(), minItems=1)]}
    return {
        "ChatRequest": an_object(
            {"model": model, "messages": an_array(_chat_message(), minItems=1)},
            maybe(_shared() | _chat_fields()),
        ),
        "ResponseRequest": an_object({"model": model, "input": items}, maybe(_shared() | _response_fields())),
        "TokenizeRequest": an_object({"model": model, "text": STRING}, maybe({"user": STRING})),
    }


def _number(low: float, high: float) -> Schema:
    return {"type": "number", "minimum": low, "maximum": high}


def _content(*kinds: str) -> Schema:
    parts = an_object({"type": {"type": "string", "enum": list(kinds)}, "text": STRING})
    return {"anyOf": [STRING, an_array(parts)]}


def _function(extra: Schema) -> Schema:
    return an_object({**extra, "name": STRING}, maybe({"description": STRING, "parameters": MAP}))


def _shared() -> dict[str, Schema]:
    """What both APIs take."""
    return {
        "stream": BOOLEAN,
        "temperature": _number(0, 2),
        "top_p": _number(0, 1),
        "top_logprobs": {"type": "integer", "minimum": 0, "maximum": 8},
        "user": STRING,
        "parallel_tool_calls": BOOLEAN,
        "service_tier": {"type": "string", "enum": list(SERVICE_TIERS)},
        "prompt_cache_key": STRING,
    }


def _chat_message() -> Schema:
    named = maybe({"name": STRING, "tool_call_id": STRING, "tool_calls": an_array(MAP)})
    others = {"type": "string", "enum": sorted(ROLES - {"assistant"})}
    return {
        "anyOf": [
            an_object({"role": others, "content": _content("text")}, named),
            an_object({"role": {"const": "assistant"}}, {**named, "content": nullable(_content("text"))}),
        ]
    }


def _chat_fields() -> dict[str, Schema]:
    return {
        "max_completion_tokens": _LIMIT,
        "max_tokens": _LIMIT,
        "n": {"type": "integer", "minimum": 1, "maximum": MAX_CHOICES},
        "seed": INTEGER,
        "stream_options": {"type": "object", "properties": maybe({"include_usage": BOOLEAN})},
        "deferred": {"const": False, "description": "true too, where stream is not"},
        "logprobs": BOOLEAN,
        "logit_bias": MAP,
        "search_parameters": MAP,
        "web_search_options": MAP,
        "reasoning_effort": _EFFORT,
        "tools": an_array(
            an_object({"type": {"const": "function"}, "function": _function({})}), maxItems=MAX_TOOLS
        ),
        "tool_choice": _TOOL_CHOICE,
        "response_format": _FORMAT,
        "stop": {
            "description": f"One or up to {MAX_STOPS} strings, with reasoning_effort none",
            "type": "array",
            "maxItems": 0,
        },
    }


def _response_item() -> Schema:
    """One of the input: a message, or what became of a tool call."""
    output = {"type": {"const": "function_call_output"}, "call_id": STRING, "output": _content("input_text")}
    call = {"type": {"const": "function_call"}, "call_id": STRING, "name": STRING, "arguments": STRING}
    return {
        "anyOf": [
            an_object(
                {"role": {"type": "string", "enum": sorted(ROLES)}, "content": _content("input_text")},
                maybe({"type": {"const": "message"}}),
            ),
            an_object(output),
            an_object(call),
        ]
    }


def _response_fields() -> dict[str, Schema]:
    tool = {
        "anyOf": [
            _function({"type": {"const": "function"}}),
            an_object({"type": {"type": "string", "enum": list(SERVER_TOOLS)}}),
        ]
    }
    return {
        "max_output_tokens": _LIMIT,
        "instructions": STRING,
        "store": BOOLEAN,
        "background": {"const": False},
        "metadata": MAP,
        "max_tool_calls": INTEGER,
        "safety_identifier": STRING,
        "truncation": {"type": "string", "enum": ["auto", "disabled"]},
        "reasoning": {"type": "object", "properties": maybe({"effort": _EFFORT, "summary": STRING})},
        "text": {"type": "object", "properties": maybe({"format": _FORMAT})},
        "tools": an_array(tool, maxItems=MAX_TOOLS),
        "tool_choice": _TOOL_CHOICE,
    }
