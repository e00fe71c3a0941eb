"""Token buckets: laws over any arrivals, and what a refused client hears."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mock_server.limit_tiers import LIMIT_TIERS, Limit, limits_of
from mock_server.rate_limits import RateLimits, make_table
from mock_server.refusals import RefusalError
from mock_server.shared_table import SharedTable, key_of
from tests.mock_server.raw_http import ask, chat_body
from tests.mock_server.server_process import running_mock

TABLE = make_table()  # one for all examples: an mmap each would be slow


def buckets(requests_per_s: float, tokens_per_min: int) -> RateLimits:
    TABLE.clear()
    limit = Limit(requests_per_s, round(60 * requests_per_s), tokens_per_min)
    return RateLimits({"": limit}, enforced=True, table=TABLE)


def taken(limits: RateLimits, tokens: int, at_s: float, key: str = "key") -> bool:
    try:
        limits.admit(key, "model", tokens, at_s)
    except RefusalError:
        return False
    return True


@given(
    st.integers(1, 20),
    st.lists(st.floats(0, 0.5), min_size=1, max_size=80),
)
def test_no_window_takes_more_than_the_burst_and_the_rate(rate: int, gaps: list[float]) -> None:
    limits = buckets(rate, 10**9)
    times = [1000 + t for t in itertools.accumulate(gaps)]
    took = [t for t in times if taken(limits, 1, t)]
    assert took[0] == times[0]
    for i, start in enumerate(took):
        for j in range(i, len(took)):
            assert j - i + 1 <= rate + rate * (took[j] - start) + 1e-6


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=60))
def test_tokens_never_pass_the_minutes_and_what_is_stated_is_true(sizes: list[int]) -> None:
    limits = buckets(1e6, 6000)
    spent = 0
    for size in sizes:  # all in one moment
        if spent and spent + size > 6000:
            with pytest.raises(RefusalError) as refused:
                limits.admit("key", "model", size, 1000.0)
            assert refused.value.status == 429
            assert refused.value.retry_after_s is not None
            assert taken(limits, size, 1000.0 + refused.value.retry_after_s)
            return
        allowance = limits.admit("key", "model", size, 1000.0)
        spent += size
        assert allowance.remaining_tokens == max(0, 6000 - spent)
        assert (allowance.limit_tokens, allowance.limit_requests) == (6000, 60_000_000)


def test_generated_tokens_are_paid_afterwards_and_shut_the_bucket_until_made_good() -> None:
    limits = buckets(1e6, 6000)
    assert taken(limits, 1000, 1000.0)
    limits.charge("key", "model", 11_000)
    assert not taken(limits, 1, 1001.0)
    assert taken(limits, 1, 1000.0, key="another key")
    assert not taken(limits, 100, 1060.0)  # 6,000 paid back, 6,000 owed
    assert taken(limits, 100, 1061.5)


def test_a_key_and_a_model_have_their_own_buckets() -> None:
    limits = buckets(1, 10**9)
    assert taken(limits, 1, 1000.0)
    assert not taken(limits, 1, 1000.0)
    assert taken(limits, 1, 1000.0, key="other")
    limits.admit("key", "another model", 1, 1000.0)


@pytest.mark.parametrize("tier", LIMIT_TIERS)
def test_the_tiers_are_xais(tier: str) -> None:
    limit = limits_of(tier)["grok-4.3"]
    assert limit.requests_per_s == limit.requests_per_min // 48  # as published
    assert limits_of(tier)[""] == limit


def test_a_full_table_forgets_rather_than_grows() -> None:
    table = SharedTable(32)
    for i in range(1000):
        table.values[table.find(key_of(f"{i}".encode())) + 1] += 1
    row = table.find(key_of(b"999"))
    assert table.values[row + 1] == 1


def test_over_the_limit_a_client_hears_xais_words_and_a_retry_after() -> None:
    with running_mock("--tier", "grok-4.3", "--limit-tier", "T0", "--time-scale", "10") as url:
        body = chat_body(max_completion_tokens=1, reasoning_effort="none")
        status, headers, raw = ask(url, "/v1/chat/completions", body)
        assert status == 200
        assert headers["x-ratelimit-limit-requests"] == "1800"
        assert headers["x-ratelimit-limit-tokens"] == "10000000"
        prompt = json.loads(raw)["usage"]["prompt_tokens"]
        assert int(headers["x-ratelimit-remaining-tokens"]) == 10_000_000 - prompt
        assert int(headers["x-ratelimit-remaining-requests"]) == 1800 * 36 // 37
        status, headers, _ = ask(url, "/v1/tokenize-text", {"model": "grok-4.3", "text": "x"})
        assert 1800 * 36 // 37 <= int(headers["x-ratelimit-remaining-requests"]) <= 1800  # takes nothing
        config = {"limits": {"requests_per_s": 0.1, "tokens_per_min": 100_000}}
        status, _, raw = ask(url, "/admin/config", config)
        assert status == 200, raw
        assert ask(url, "/v1/chat/completions", body)[0] == 200
        status, headers, raw = ask(url, "/v1/chat/completions", body)
        assert status == 429
        assert 1 <= int(headers["retry-after"]) <= 10
        error = json.loads(raw)
        assert error["code"] == "resource-exhausted"
        assert "Requests per Second (actual/limit): 2/1" in error["error"]
        other = ask(url, "/v1/chat/completions", body, headers={"Authorization": "Bearer other"})
        assert other[0] == 200


def test_without_a_tier_limits_are_stated_and_not_applied(mock_url: str) -> None:
    for _ in range(3):
        _, headers, _ = ask(mock_url, "/v1/chat/completions", chat_body(max_completion_tokens=1))
        assert headers["x-ratelimit-remaining-requests"] == headers["x-ratelimit-limit-requests"] == "10000"


def test_a_full_queue_has_the_capacity_message() -> None:
    with running_mock("--tier", "grok-4.3", "--queue-limit", "0") as url:
        status, headers, raw = ask(url, "/v1/chat/completions", chat_body())
        assert (status, headers["retry-after"]) == (429, "1")
        assert "temporarily at capacity" in json.loads(raw)["error"]
