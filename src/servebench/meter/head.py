"""What a response's headers say besides how to read the body: the request's id, when to come back, the
server's own timing, the rate limits. Pure readers; nothing here raises on odd input.

xAI's names (x-metrics-ttft-ms, x-ratelimit-limit-requests, ...), which OpenAI's rate-limit headers share.
Retry-After is seconds or an HTTP date (RFC 9110, section 10.2.3); a date counts from the response's own Date.
"""

import math
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from servebench.meter.answer import redact

_MOST_S = 86_400.0
_TIMINGS = (
    ("server_ttft_s", "x-metrics-ttft-ms"),
    ("server_itl_s", "x-metrics-mean-itl-ms"),
    ("server_e2e_s", "x-metrics-e2e-ms"),
)
LIMITS = ("limit-requests", "limit-tokens", "remaining-requests", "remaining-tokens")


def head_facts(headers: Mapping[str, str], secrets: tuple[str, ...] = ()) -> dict[str, Any]:
    """The record's fields that come from the headers (lower-case names); only those that are there."""
    facts: dict[str, Any] = {}
    request_id = headers.get("x-request-id")
    if request_id:
        facts["request_id"] = _shown(request_id, secrets)
    for field, name in _TIMINGS:
        if name in headers and (value := _number(headers[name])) is not None:
            facts[field] = value / 1e3
    waits_s = retry_after_s(headers)
    if waits_s is not None:
        facts["retry_after_s"] = waits_s
    return facts


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, at most a day; None where the server does not say."""
    if "retry-after-ms" in headers and (value := _number(headers["retry-after-ms"])) is not None:
        return min(value / 1e3, _MOST_S)
    text = headers.get("retry-after")
    if text is None:
        return None
    if (value := _number(text)) is not None:
        return min(value, _MOST_S)
    try:
        span = parsedate_to_datetime(text) - parsedate_to_datetime(headers["date"])
    except (KeyError, ValueError, TypeError, OverflowError):
        return None
    return min(max(span.total_seconds(), 0.0), _MOST_S)


def rate_limits(headers: Mapping[str, str]) -> dict[str, int]:
    """The x-ratelimit-* counts, by the names of LIMITS."""
    found = {name: _number(headers.get(f"x-ratelimit-{name}", "")) for name in LIMITS}
    return {name: int(value) for name, value in found.items() if value is not None}


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _shown(text: str, secrets: tuple[str, ...]) -> str:
    """An id as it stands, unless it holds a secret of ours; redact() would take a bare one for a key."""
    return redact(text, secrets) if len(text) > 128 or any(secret in text for secret in secrets) else text
