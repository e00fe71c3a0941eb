"""The bodies of /openapi.json as JSON schemas: what is answered, and with openapi_requests.py all of them."""

from mock_server.fault_rules import MockConfig
from mock_server.openapi_requests import requests
from mock_server.schema_words import (
    BOOLEAN,
    COUNT,
    MAP,
    STRING,
    UUID,
    Schema,
    an_array,
    an_object,
    nullable,
)


def components(models: list[str]) -> dict[str, Schema]:
    """models: the names that are served."""
    return {
        **requests({"type": "string", "enum": models}),
        **_answers(),
        **_catalog(),
        "MockConfig": MockConfig.model_json_schema(
            ref_template="#/components/schemas/MockConfig/$defs/{model}"
        ),
    }


def _answers() -> dict[str, Schema]:
    call = an_object(
        {
            "id": STRING,
            "function": an_object({"name": STRING, "arguments": STRING}),
            "type": {"const": "function"},
        }
    )
    message = an_object(
        {"role": {"const": "assistant"}, "content": STRING, "refusal": {"type": "null"}},
        {"reasoning_content": STRING, "tool_calls": an_array(call)},
    )
    finish = {"type": "string", "enum": ["stop", "length", "tool_calls"]}
    choice = an_object({"index": COUNT, "message": message, "finish_reason": finish})
    envelope = {
        "id": UUID,
        "object": {"const": "chat.completion"},
        "created": COUNT,
        "model": STRING,
        "choices": an_array(choice, minItems=1),
        "usage": _chat_usage(),
        "system_fingerprint": STRING,
        "service_tier": {"type": "string", "enum": ["default", "priority"]},
    }
    token = an_object({"token_id": COUNT, "string_token": STRING, "token_bytes": an_array(COUNT)})
    return {
        "ChatCompletion": an_object(envelope),
        "DeferredStart": an_object({"request_id": UUID}),
        "Response": _response(),
        "DeletedResponse": an_object(
            {"id": UUID, "object": {"const": "response"}, "deleted": {"const": True}}
        ),
        "TokenList": an_object({"token_ids": an_array(token)}),
        "Error": an_object({"code": STRING, "error": STRING}),
        "TypeError": an_object({"error": STRING}),
        "Refusal": an_object({"error": STRING}, {"code": STRING}),
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
    return an_object(
        {
            **dict.fromkeys(counts, COUNT),
            "prompt_tokens_details": an_object(dict.fromkeys(prompt, COUNT)),
            "completion_tokens_details": an_object(dict.fromkeys(completion, COUNT)),
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
    usage = an_object(
        {
            **dict.fromkeys(counts, COUNT),
            "input_tokens_details": an_object({"cached_tokens": COUNT}),
            "output_tokens_details": an_object({"reasoning_tokens": COUNT}),
            "context_details": an_object({"input_tokens": COUNT, "output_tokens": COUNT}),
        }
    )
    item = an_object({"type": {"type": "string", "enum": ["reasoning", "message", "function_call"]}})
    return an_object(
        {
            "id": UUID,
            "object": {"const": "response"},
            "created_at": COUNT,
            "completed_at": COUNT,
            "model": STRING,
            "status": {"type": "string", "enum": ["completed", "incomplete"]},
            "output": an_array(item, minItems=1),
            "usage": usage,
            "store": BOOLEAN,
            "metadata": MAP,
            "incomplete_details": nullable(MAP),
            "previous_response_id": nullable(STRING),
            "error": {"type": "null"},
        },
        {"instructions": nullable(STRING), "tools": an_array(MAP), "text": MAP, "reasoning": MAP},
    )


def _catalog() -> dict[str, Schema]:
    prices = (
        "prompt_text_token_price",
        "cached_prompt_text_token_price",
        "prompt_image_token_price",
        "completion_text_token_price",
    )
    entry = {
        "id": STRING,
        "aliases": an_array(STRING),
        "created": COUNT,
        "object": {"const": "model"},
        "owned_by": STRING,
        **dict.fromkeys(prices, COUNT),
    }
    model = an_object({**entry, "context_length": COUNT})
    modal = {"fingerprint": STRING, "version": STRING, "input_modalities": an_array(STRING)}
    language = an_object({**entry, **modal, "output_modalities": an_array(STRING)})
    ids = dict.fromkeys(("user_id", "modified_by", "team_id", "api_key_id"), UUID)
    flags = dict.fromkeys(("team_blocked", "api_key_blocked", "api_key_disabled"), BOOLEAN)
    times = dict.fromkeys(("create_time", "modify_time"), STRING)
    return {
        "Model": model,
        "ModelList": an_object({"object": {"const": "list"}, "data": an_array(model)}),
        "LanguageModel": language,
        "LanguageModelList": an_object({"models": an_array(language)}),
        "NoModels": an_object({"models": an_array(MAP, maxItems=0)}),
        "ApiKey": an_object(
            {"redacted_api_key": STRING, "name": STRING, "acls": an_array(STRING), **ids, **times, **flags}
        ),
    }
