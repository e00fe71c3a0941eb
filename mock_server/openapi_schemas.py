"""The bodies of /openapi.json as JSON schemas: what is asked, what is answered."""

from typing import Any

from mock_server.chat_request import ROLES, SERVICE_TIERS
from mock_server.choices import MAX_CHOICES, MAX_STOPS, MAX_TOOLS
from mock_server.fault_rules import MockConfig
from mock_server.fields import MAX_INTEGER
from mock_server.tool_fields import SERVER_TOOLS, TOOL_CHOICES

Schema = dict[str, Any]
_STRING: Schema = {"type": "string"}
_INTEGER: Schema = {"type": "integer", "minimum": -MAX_INTEGER, "maximum": MAX_INTEGER}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_BOOLEAN: Schema = {"type": "boolean"}
_MAP: Schema = {"type": "object"}
_UUID: Schema = {"type": "string", "format": "uuid"}
_LIMIT: Schema = {"type": "integer", "minimum": 1, "maximum": MAX_INTEGER}
_TOOL_CHOICE: Schema = {"type": "string", "enum": sorted(TOOL_CHOICES - {"required"})}
_EFFORT: Schema = {"type": "string", "enum": ["none", "low", "medium", "high", "xhigh"]}


def components(models: list[str]) -> dict[str, Schema]:
    """models: the names that are served."""
    return {
        **_requests({"type": "string", "enum": models}),
        **_answers(),
        **_catalog(),
        "MockConfig": MockConfig.model_json_schema(
            ref_template="#/components/schemas/MockConfig/$defs/{model}"
        ),
    }


def _object(required: Schema, optional: Schema | None = None) -> Schema:
    return {
        "type": "object",
        "required": list(required),
        "properties": {**required, **(optional or {})},
    }


def _nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _maybe(fields: dict[str, Schema]) -> dict[str, Schema]:
    """Each may be absent or null."""
    return {name: _nullable(schema) for name, schema in fields.items()}


def _number(low: float, high: float) -> Schema:
    return {"type": "number", "minimum": low, "maximum": high}


def _array(items: Schema, **bounds: int) -> Schema:
    return {"type": "array", "items": items, **bounds}


def _content(*kinds: str) -> Schema:
    parts = _object({"type": {"type": "string", "enum": list(kinds)}, "text": _STRING})
    return {"anyOf": [_STRING, _array(parts)]}


def _function(extra: Schema) -> Schema:
    return _object({**extra, "name": _STRING}, _maybe({"description": _STRING, "parameters": _MAP}))


_FORMAT: Schema = _object({"type": {"type": "string", "enum": ["text", "json_object"]}})


def _shared() -> dict[str, Schema]:
    """What both APIs take."""
    return {
        "stream": _BOOLEAN,
        "temperature": _number(0, 2),
        "top_p": _number(0, 1),
        "top_logprobs": {"type": "integer", "minimum": 0, "maximum": 8},
        "user": _STRING,
        "parallel_tool_calls": _BOOLEAN,
        "service_tier": {"type": "string", "enum": list(SERVICE_TIERS)},
        "prompt_cache_key": _STRING,
    }


def _requests(model: Schema) -> dict[str, Schema]:
    items = {"anyOf": [_STRING, _array(_response_item(), minItems=1)]}
    return {
        "ChatRequest": _object(
            {"model": model, "messages": _array(_chat_message(), minItems=1)},
            _maybe(_shared() | _chat_fields()),
        ),
        "ResponseRequest": _object({"model": model, "input": items}, _maybe(_shared() | _response_fields())),
        "TokenizeRequest": _object({"model": model, "text": _STRING}, _maybe({"user": _STRING})),
    }


def _chat_message() -> Schema:
    named = _maybe({"name": _STRING, "tool_call_id": _STRING, "tool_calls": _array(_MAP)})
    others = {"type": "string", "enum": sorted(ROLES - {"assistant"})}
    return {
        "anyOf": [
            _object({"role": others, "content": _content("text")}, named),
            _object({"role": {"const": "assistant"}}, {**named, "content": _nullable(_content("text"))}),
        ]
    }


def _chat_fields() -> dict[str, Schema]:
    return {
        "max_completion_tokens": _LIMIT,
        "max_tokens": _LIMIT,
        "n": {"type": "integer", "minimum": 1, "maximum": MAX_CHOICES},
        "seed": _INTEGER,
        "stream_options": {"type": "object", "properties": _maybe({"include_usage": _BOOLEAN})},
        "deferred": {"const": False, "description": "true too, where stream is not"},
        "logprobs": _BOOLEAN,
        "logit_bias": _MAP,
        "search_parameters": _MAP,
        "web_search_options": _MAP,
        "reasoning_effort": _EFFORT,
        "tools": _array(
            _object({"type": {"const": "function"}, "function": _function({})}), maxItems=MAX_TOOLS
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
    output = {"type": {"const": "function_call_output"}, "call_id": _STRING, "output": _content("input_text")}
    call = {"type": {"const": "function_call"}, "call_id": _STRING, "name": _STRING, "arguments": _STRING}
    return {
        "anyOf": [
            _object(
                {"role": {"type": "string", "enum": sorted(ROLES)}, "content": _content("input_text")},
                _maybe({"type": {"const": "message"}}),
            ),
            _object(output),
            _object(call),
        ]
    }


def _response_fields() -> dict[str, Schema]:
    tool = {
        "anyOf": [
            _function({"type": {"const": "function"}}),
            _object({"type": {"type": "string", "enum": list(SERVER_TOOLS)}}),
        ]
    }
    return {
        "max_output_tokens": _LIMIT,
        "instructions": _STRING,
        "store": _BOOLEAN,
        "background": {"const": False},
        "metadata": _MAP,
        "max_tool_calls": _INTEGER,
        "safety_identifier": _STRING,
        "truncation": {"type": "string", "enum": ["auto", "disabled"]},
        "reasoning": {"type": "object", "properties": _maybe({"effort": _EFFORT, "summary": _STRING})},
        "text": {"type": "object", "properties": _maybe({"format": _FORMAT})},
        "tools": _array(tool, maxItems=MAX_TOOLS),
        "tool_choice": _TOOL_CHOICE,
    }


def _answers() -> dict[str, Schema]:
    call = _object(
        {
            "id": _STRING,
            "function": _object({"name": _STRING, "arguments": _STRING}),
            "type": {"const": "function"},
        }
    )
    message = _object(
        {"role": {"const": "assistant"}, "content": _STRING, "refusal": {"type": "null"}},
        {"reasoning_content": _STRING, "tool_calls": _array(call)},
    )
    finish = {"type": "string", "enum": ["stop", "length", "tool_calls"]}
    choice = _object({"index": _COUNT, "message": message, "finish_reason": finish})
    envelope = {
        "id": _UUID,
        "object": {"const": "chat.completion"},
        "created": _COUNT,
        "model": _STRING,
        "choices": _array(choice, minItems=1),
        "usage": _chat_usage(),
        "system_fingerprint": _STRING,
        "service_tier": {"type": "string", "enum": ["default", "priority"]},
    }
    token = _object({"token_id": _COUNT, "string_token": _STRING, "token_bytes": _array(_COUNT)})
    return {
        "ChatCompletion": _object(envelope),
        "DeferredStart": _object({"request_id": _UUID}),
        "Response": _response(),
        "DeletedResponse": _object(
            {"id": _UUID, "object": {"const": "response"}, "deleted": {"const": True}}
        ),
        "TokenList": _object({"token_ids": _array(token)}),
        "Error": _object({"code": _STRING, "error": _STRING}),
        "TypeError": _object({"error": _STRING}),
        "Refusal": _object({"error": _STRING}, {"code": _STRING}),
    }


def _chat_usage() -> Schema:
    prompt = ("text_tokens", "audio_tokens", "image_tokens", "cached_tokens")
    completion = (
        "reasoning_tokens",
        "audio_tokens",
        "accepted_prediction_tokens",
        "rejected_prediction_tokens",
    )
    counts = ("prompt_tokens", "completion_tokens", "total_tokens", "num_sources_used", "cost_in_usd_ticks")
    return _object(
        {
            **dict.fromkeys(counts, _COUNT),
            "prompt_tokens_details": _object(dict.fromkeys(prompt, _COUNT)),
            "completion_tokens_details": _object(dict.fromkeys(completion, _COUNT)),
        }
    )


def _response() -> Schema:
    counts = (
        "input_tokens",
        "output_tokens",
        "total_tokens",
        "num_sources_used",
        "num_server_side_tools_used",
        "cost_in_usd_ticks",
    )
    usage = _object(
        {
            **dict.fromkeys(counts, _COUNT),
            "input_tokens_details": _object({"cached_tokens": _COUNT}),
            "output_tokens_details": _object({"reasoning_tokens": _COUNT}),
            "context_details": _object({"input_tokens": _COUNT, "output_tokens": _COUNT}),
        }
    )
    item = _object({"type": {"type": "string", "enum": ["reasoning", "message", "function_call"]}})
    return _object(
        {
            "id": _UUID,
            "object": {"const": "response"},
            "created_at": _COUNT,
            "completed_at": _COUNT,
            "model": _STRING,
            "status": {"type": "string", "enum": ["completed", "incomplete"]},
            "output": _array(item, minItems=1),
            "usage": usage,
            "store": _BOOLEAN,
            "metadata": _MAP,
            "incomplete_details": _nullable(_MAP),
            "previous_response_id": _nullable(_STRING),
            "error": {"type": "null"},
        },
        {"instructions": _nullable(_STRING), "tools": _array(_MAP), "text": _MAP, "reasoning": _MAP},
    )


def _catalog() -> dict[str, Schema]:
    prices = (
        "prompt_text_token_price",
        "cached_prompt_text_token_price",
        "prompt_image_token_price",
        "completion_text_token_price",
    )
    entry = {
        "id": _STRING,
        "aliases": _array(_STRING),
        "created": _COUNT,
        "object": {"const": "model"},
        "owned_by": _STRING,
        **dict.fromkeys(prices, _COUNT),
    }
    model = _object({**entry, "context_length": _COUNT})
    modal = {"fingerprint": _STRING, "version": _STRING, "input_modalities": _array(_STRING)}
    language = _object({**entry, **modal, "output_modalities": _array(_STRING)})
    ids = dict.fromkeys(("user_id", "modified_by", "team_id", "api_key_id"), _UUID)
    flags = dict.fromkeys(("team_blocked", "api_key_blocked", "api_key_disabled"), _BOOLEAN)
    times = dict.fromkeys(("create_time", "modify_time"), _STRING)
    return {
        "Model": model,
        "ModelList": _object({"object": {"const": "list"}, "data": _array(model)}),
        "LanguageModel": language,
        "LanguageModelList": _object({"models": _array(language)}),
        "NoModels": _object({"models": _array(_MAP, maxItems=0)}),
        "ApiKey": _object(
            {"redacted_api_key": _STRING, "name": _STRING, "acls": _array(_STRING), **ids, **times, **flags}
        ),
    }
