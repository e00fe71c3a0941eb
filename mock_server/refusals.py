"""Refusals: xAI's flat error bodies, {"code", "error"}, or plain text where recordings have that."""

from math import ceil

import orjson

from mock_server.choices import RETRY_AFTER_S, TEAM_ID


class RefusalError(Exception):
    """An HTTP error answer: status, body and its content type. retry_after_s: of its Retry-After header."""

    def __init__(
        self,
        status: int,
        body: bytes,
        content_type: str = "application/json",
        *,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(status, body)
        self.status = status
        self.body = body
        self.content_type = content_type
        self.retry_after_s = retry_after_s

    def headers(self) -> dict[str, str]:
        headers = {"Content-Type": self.content_type}
        return headers if self.retry_after_s is None else headers | {"Retry-After": str(self.retry_after_s)}


def flat(status: int, code: str, error: str, *, retry_after_s: int | None = None) -> RefusalError:
    return RefusalError(status, orjson.dumps({"code": code, "error": error}), retry_after_s=retry_after_s)


def plain(status: int, text: str) -> RefusalError:
    return RefusalError(status, text.encode(), "text/plain; charset=utf-8")


def invalid_argument(error: str) -> RefusalError:
    return flat(400, "invalid-argument", error)


def no_credentials() -> RefusalError:
    return flat(401, "unauthenticated:no-credentials", "No credentials presented.")


def wrong_key() -> RefusalError:
    return invalid_argument(
        "Incorrect API key provided. You can obtain an API key from https://console.x.ai."
    )


def unknown_model(model: str) -> RefusalError:
    return flat(
        404,
        "not-found",
        f"The model {model} does not exist or your team {TEAM_ID} does not have access to it. If you believe "
        "this is a mistake, please contact support and quote your team ID and the model name.",
    )


def prompt_too_long(limit_tokens: int, prompt_tokens: int) -> RefusalError:
    return invalid_argument(
        f"This model's maximum prompt length is {limit_tokens} but the request contains "
        f"{prompt_tokens} tokens."
    )


def model_not_found(model: str) -> RefusalError:
    """An unknown model on /v1/responses."""
    return invalid_argument(f"Model not found: {model}")


def no_response(response_id: str) -> RefusalError:
    return flat(404, "not-found", f"Response with id={response_id} not found.")


def as_response_refusal(refusal: RefusalError) -> RefusalError:
    """On /v1/responses a 422 is JSON, without a code."""
    if refusal.status != 422:
        return refusal
    return RefusalError(422, orjson.dumps({"error": refusal.body.decode()}))


def out_of_credits() -> RefusalError:
    """As since September 2026; until February 2026 it was a 429."""
    return flat(
        403,
        "permission-denied",
        f"Your team {TEAM_ID} has either used all available credits or reached its monthly spending limit. "
        "To continue making API requests, please purchase more credits or raise your spending limit.",
    )


def rate_limited(model: str, *, axis: str, actual: int, limit: float, wait_s: float) -> RefusalError:
    """axis: "Requests per Second", "Requests per Minute" or "Tokens per Minute". wait_s: of Retry-After."""
    return flat(
        429,
        "resource-exhausted",
        f"Too many requests for team {TEAM_ID} and model {model}. Your team's rate limit is — "
        f"{axis} (actual/limit): {actual}/{limit:.12g}.",
        retry_after_s=max(1, ceil(wait_s)),
    )


def unsafe_content() -> RefusalError:
    """The check before generation; reported without a code."""
    error = "Content violates usage guidelines. Failed check: SAFETY_CHECK_TYPE_CYBER"
    return RefusalError(403, orjson.dumps({"error": error}))


def at_capacity(status: int = 429) -> RefusalError:
    """503: no replica is there."""
    code = "resource-exhausted" if status == 429 else "unavailable"
    error = "The service is temporarily at capacity. Please retry your request shortly."
    return flat(status, code, error, retry_after_s=RETRY_AFTER_S)


def no_deferred(request_id: str) -> RefusalError:
    return flat(404, "not-found", f"No deferred completion {request_id}: unknown, fetched before or expired.")


def too_many_deferred(limit: int) -> RefusalError:
    error = f"More than {limit} deferred completions wait to be fetched."
    return flat(429, "resource-exhausted", error, retry_after_s=RETRY_AFTER_S)


def not_json(detail: str) -> RefusalError:
    return plain(400, f"Failed to parse the request body as JSON: {detail}")


def wrong_type(detail: str) -> RefusalError:
    return plain(422, f"Failed to deserialize the JSON body into the target type: {detail}")


def wrong_content_type() -> RefusalError:
    return plain(415, "Expected request with `Content-Type: application/json`")


def no_route(path: str) -> RefusalError:
    return flat(404, "not-found", f"No such endpoint: {path}")


def wrong_method(method: str, path: str) -> RefusalError:
    return flat(405, "invalid-argument", f"Method {method} is not allowed on {path}")


def body_too_large(limit_bytes: int) -> RefusalError:
    return flat(413, "invalid-argument", f"The request body is larger than {limit_bytes} bytes.")
