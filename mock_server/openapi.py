"""GET /openapi.json: what this mock serves, as an OpenAPI 3.1 document. Bodies are in openapi_schemas.py."""

from collections.abc import Iterable, Mapping
from typing import Any

from mock_server import openapi_schemas as schemas

_JSON = "application/json"
_ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
_MAP = {"type": "object"}
_NOT_SERVED = ("embedding-models", "image-generation-models", "video-generation-models")


def openapi_json(models: Iterable[str]) -> dict[str, Any]:
    """models: the names that are served, aliases too."""
    names = list(models)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "servebench mock",
            "version": "1",
            "description": "An inference server in xAI's dialect whose timing is computed, not served.",
        },
        "security": [{"key": []}],
        "paths": _paths(names),
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "schemas": schemas.components(names),
        },
    }


def _paths(names: list[str]) -> dict[str, Any]:
    return {
        "/v1/chat/completions": {"post": _chat()},
        "/v1/chat/deferred-completion/{id}": {"get": _deferred()},
        "/v1/responses": {"post": _respond()},
        "/v1/responses/{id}": {
            "get": _named("The stored response.", "Response", names=None),
            "delete": _named("Forgotten.", "DeletedResponse", names=None),
        },
        "/v1/tokenize-text": {"post": _tokenize()},
        "/v1/api-key": {"get": _get("The state of the key.", "ApiKey")},
        "/v1/models": {"get": _get("The models that are served.", "ModelList")},
        "/v1/models/{id}": {"get": _named("One model.", "Model", names=names)},
        "/v1/language-models": {"get": _get("The models, with modalities.", "LanguageModelList")},
        "/v1/language-models/{id}": {"get": _named("One model.", "LanguageModel", names=names)},
        **{f"/v1/{kind}": {"get": _get("None is served.", "NoModels")} for kind in _NOT_SERVED},
        **_operators(names),
        "/health": {"get": {"security": [], "responses": {"200": _body("Alive.", {_JSON: _MAP})}}},
        "/metrics": {
            "get": {
                "security": [],
                "responses": {"200": _body("vLLM's metrics and the mock's.", {"text/plain": {}})},
            }
        },
    }


def _operators(names: list[str]) -> dict[str, Any]:
    """What is the mock's alone: no key, no dialect."""
    text = "The document in force: faults, rate limits, what the journal keeps."
    document = {**_body(text, {_JSON: _ref("MockConfig")})}
    lines = _body("A request a line, with the verdicts on its client.", {"application/x-ndjson": {}})
    last = {"name": "last", "in": "query", "schema": {"type": "integer", "minimum": 1}}
    model = {"name": "model", "in": "query", "schema": {"type": "string", "enum": names}}
    plain: dict[str, Any] = {"security": []}
    return {
        "/admin/config": {
            "get": {**plain, "responses": {"200": document}},
            "post": {
                **plain,
                "summary": "Replaces it, at once and whole; or 400 names every problem.",
                "requestBody": _request("MockConfig"),
                "responses": {"200": document, "400": _both()},
            },
        },
        "/admin/journal": {
            "get": {**plain, "parameters": [last], "responses": {"200": lines, "400": _flat()}}
        },
        "/admin/verdict": {
            "get": {**plain, "responses": {"200": _body("A summary of the verdicts.", {_JSON: _MAP})}}
        },
        "/admin/reset": {
            "post": {
                **plain,
                "summary": "Empties the journal and fills the buckets; the document begins again.",
                "responses": {"200": document},
            }
        },
        "/debug/engine": {
            "get": {
                **plain,
                "parameters": [model],
                "responses": {"200": _body("The engine's own times.", {_JSON: _MAP}), "404": _flat()},
            }
        },
    }


def _chat() -> dict[str, Any]:
    answers = {
        "oneOf": [_ref("ChatCompletion"), _ref("DeferredStart")],
        "description": "The completion; where deferred, the id under which to fetch it.",
    }
    done = _body("The answer.", {_JSON: answers, "text/event-stream": {}})
    refused = {"400": _both(), "404": _flat(), "413": _flat(), "415": _text(), "422": _text()}
    refused |= {"429": _flat(), "503": _flat()}
    return {
        "summary": "Streamed, whole or deferred.",
        "requestBody": _request("ChatRequest"),
        "responses": {"200": done, **_common(), **refused},
    }


def _deferred() -> dict[str, Any]:
    answers = {"200": _body("Done, and forgotten.", {_JSON: _ref("ChatCompletion")})}
    pending = {"202": {"description": "Pending; the body is empty."}}
    return {
        "summary": "Fetches a deferred completion, once.",
        "parameters": [_ID],
        "responses": {**answers, **pending, **_common(), "404": _flat(), "429": _flat(), "503": _flat()},
    }


def _respond() -> dict[str, Any]:
    done = _body("The answer.", {_JSON: _ref("Response"), "text/event-stream": {}})
    done["links"] = {
        "read": _response_link("get"),
        "delete": _response_link("delete"),
    }
    untyped = _body("JSON of another type than is wanted.", {_JSON: _ref("TypeError")})
    refused = {"400": _both(), "404": _flat(), "413": _flat(), "415": _text(), "422": untyped}
    return {
        "summary": "Streamed or whole; stored unless store is false.",
        "requestBody": _request("ResponseRequest"),
        "responses": {"200": done, **_common(), **refused, "429": _flat(), "503": _flat()},
    }


def _tokenize() -> dict[str, Any]:
    done = _body("As many tokens as a prompt of the text is billed.", {_JSON: _ref("TokenList")})
    refused = {"400": _both(), "404": _flat(), "413": _flat(), "415": _text(), "422": _text()}
    return {
        "summary": "The tokens of a text, without the hidden preamble.",
        "requestBody": _request("TokenizeRequest"),
        "responses": {"200": done, **_common(), **refused},
    }


def _get(text: str, schema: str) -> dict[str, Any]:
    return {"summary": text, "responses": {"200": _body(text, {_JSON: _ref(schema)}), **_common()}}


def _named(text: str, schema: str, *, names: list[str] | None) -> dict[str, Any]:
    """names: what the path may say; None where it is an id that the server gave."""
    known = _ID if names is None else {**_ID, "schema": {"type": "string", "enum": names}}
    return {**_get(text, schema), "parameters": [known]} | {
        "responses": {"200": _body(text, {_JSON: _ref(schema)}), **_common(), "404": _flat()}
    }


def _common() -> dict[str, Any]:
    """A key that is missing, or wrong (which xAI answers with 400), or out of credits."""
    return {"400": _flat(), "401": _flat(), "403": _body("Refused.", {_JSON: _ref("Refusal")})}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _request(schema: str) -> dict[str, Any]:
    return {"required": True, "content": {_JSON: {"schema": _ref(schema)}}}


def _body(text: str, content: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "description": text,
        "headers": {"x-request-id": {"required": True, "schema": {"type": "string", "format": "uuid"}}},
        "content": {kind: {"schema": schema} if schema else {} for kind, schema in content.items()},
    }


def _flat() -> dict[str, Any]:
    return _body("Refused.", {_JSON: _ref("Error")})


def _text() -> dict[str, Any]:
    return _body("Refused, in plain text.", {"text/plain": {"type": "string"}})


def _both() -> dict[str, Any]:
    """What is no JSON is refused in plain text, a value that is not served in JSON."""
    return _body("Refused.", {_JSON: _ref("Error"), "text/plain": {"type": "string"}})


def _response_link(method: str) -> dict[str, Any]:
    return {
        "operationRef": f"#/paths/~1v1~1responses~1{{id}}/{method}",
        "parameters": {"id": "$response.body#/id"},
    }
