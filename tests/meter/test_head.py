"""What the headers say, and the usage of a chat whose completion_tokens hold the reasoning."""

import pytest

from servebench.meter.head import head_facts, rate_limits, retry_after_s
from servebench.meter.usage import read_usage

XAI = {
    "x-request-id": "150c007d-f06f-945f-b763-621c061d0df9",
    "x-ratelimit-limit-requests": "41000",
    "x-ratelimit-remaining-requests": "41000",
    "x-ratelimit-limit-tokens": "150000000",
    "x-metrics-e2e-ms": "2570.6",
    "x-metrics-ttft-ms": "295.3",
    "x-metrics-mean-itl-ms": "12.7",
}


def test_the_recorded_headers() -> None:
    facts = head_facts(XAI)
    assert facts["request_id"] == XAI["x-request-id"]
    assert (facts["server_ttft_s"], facts["server_e2e_s"]) == pytest.approx((0.2953, 2.5706))
    assert "retry_after_s" not in facts
    assert rate_limits(XAI) == {
        "limit-requests": 41000, "limit-tokens": 150_000_000, "remaining-requests": 41000,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Wed, 25 Nov 2026 13:00:07 GMT", "date": "Wed, 25 Nov 2026 13:00:00 GMT"}, 7.0),
        ({"retry-after": "Wed, 25 Nov 2026 13:00:00 GMT", "date": "Wed, 25 Nov 2026 13:00:07 GMT"}, 0.0),
        ({"retry-after": "Wed, 25 Nov 2026 13:00:00 GMT"}, None),
        ({"retry-after": "1e999"}, None),
        ({"retry-after": "-4"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "99999999"}, 86_400.0),
        ({}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers) == seconds


def test_odd_headers_are_left_aside_and_a_secret_is_not_kept() -> None:
    assert head_facts({"x-metrics-ttft-ms": "fast"}) == {}
    shown = head_facts({"x-request-id": "echo-planted-key-1"}, ("planted-key-1",))["request_id"]
    assert "planted" not in shown


@pytest.mark.parametrize(("completion", "total"), [(1, 344), (147, 344)])
def test_reasoning_is_counted_once_in_each_dialect(completion: int, total: int) -> None:
    """xAI: beside completion_tokens; OpenAI: inside. 197 prompt and 146 reasoning tokens, one visible."""
    usage = read_usage(
        {
            "prompt_tokens": 197,
            "completion_tokens": completion,
            "total_tokens": total,
            "completion_tokens_details": {"reasoning_tokens": 146},
        }
    )
    assert (usage.completion_tokens, usage.reasoning_tokens, usage.note) == (1, 146, "")
