"""The sender against servers that refuse, ask to wait, and come back; and a purse that is too small."""

import socket
from collections.abc import Callable

import pytest

from servebench.catalog.load import load_catalog
from servebench.cost.bound import Bounds, bound_terms
from servebench.cost.budget import Lender, Purse, Statement
from servebench.drive.billing import out_of_credits
from servebench.drive.money import Money
from servebench.drive.retries import On429, RetryRules, wait_s
from servebench.drive.sender import NO_CREDITS
from servebench.meter import Outcome, RequestRecord
from tests.drive.scripted import SHEET, USAGE, Done, Scripted, answer, refusal, send
from tests.meter.servers import frame, read_request

TIER = load_catalog().tier("grok-4.3")
BILL = USAGE["cost_in_usd_ticks"]


def one(done: Done) -> RequestRecord:
    assert len(done) == 1
    return done[0][0]


def test_without_retries_a_failure_is_a_failure() -> None:
    done, sender, _ = send(Scripted(refusal(503)))
    record = one(done)
    assert (record.outcome, record.attempts, record.throttled_ns) == (Outcome.HTTP_5XX, 1, 0)
    assert sender.retries == {}


def test_a_retry_succeeds_and_its_waiting_is_apart_from_latency() -> None:
    done, sender, _ = send(Scripted(refusal(503), refusal(503), answer()), rules=RetryRules(3))
    record = one(done)
    assert (record.outcome, record.attempts) == (Outcome.SUCCESS, 3)
    assert sender.retries == {"http_5xx": 2}
    # half to whole of 0.5 s, then of 1 s
    assert 0.7 < record.throttled_ns / 1e9 < 2.5
    assert sender.throttled_s["http_5xx"] == pytest.approx(record.throttled_ns / 1e9)
    assert record.ttft_s is not None
    assert record.client_lag_s is not None
    whole_s = (record.end_ns - record.intended_ns) / 1e9
    assert record.ttft_s == pytest.approx(whole_s - record.throttled_ns / 1e9, abs=0.05)
    assert 0 <= record.client_lag_s < whole_s - record.throttled_ns / 1e9
    assert sender.take()["retries"] == {"http_5xx": 2}
    assert sender.take()["retries"] == {"http_5xx": 0}


def test_retries_are_bounded_and_what_brought_tokens_is_never_sent_again() -> None:
    server = Scripted(refusal(500))
    done, _, _ = send(server, rules=RetryRules(1))
    assert (one(done).outcome, one(done).attempts, len(server.at_s)) == (Outcome.HTTP_5XX, 2, 2)
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    chunk = frame(b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n')

    def cut(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(head + chunk)

    done, _, _ = send(cut, rules=RetryRules(3))
    record, charge = done[0]
    assert (record.outcome, record.attempts) == (Outcome.STREAM_CUT, 1)
    assert charge["input"] == 500 * 12_500, "estimated from what was planned"
    assert record.cost_source == "estimated"


def test_a_lost_connection_before_the_answer_is_retried_and_its_estimate_counts_apart() -> None:
    seen: list[int] = []

    def server(sock: socket.socket) -> None:
        read_request(sock)
        seen.append(1)
        if len(seen) > 1:
            sock.sendall(answer())

    done, _, _ = send(server, rules=RetryRules(1))
    record, charge = done[0]
    assert (record.outcome, record.attempts, record.cost_source) == (Outcome.SUCCESS, 2, "billed")
    assert record.retry_cost_usd == "0.000625"  # 500 prompt tokens that the server may have read
    assert charge["retry"] == 6_250_000


@pytest.mark.parametrize(("mode", "sent"), [("respect", 3), ("drop", 2), ("fail", 3)])
def test_a_429_with_retry_after(mode: On429, sent: int) -> None:
    """The second of three requests, 0.1 s apart, falls into the pause of 0.6 s; so does the third."""
    server = Scripted(refusal(429, "slow down", "retry-after: 0.6"), answer())
    done, sender, _ = send(server, 3, rules=RetryRules(0, mode), gap_s=0.1, close_after_s=1.4)
    outcomes = sorted(record.outcome.value for record, _ in done)
    waited_s = sorted(record.throttled_ns / 1e9 for record, _ in done)
    if mode == "respect":
        assert outcomes == ["http_429", "success", "success"]
        assert 0.3 < waited_s[1] <= waited_s[2] < 1.0
        assert min(server.at_s[1:]) - server.at_s[0] > 0.55, "nothing was sent in the pause"
        assert sender.throttled_s["http_429"] == pytest.approx(sum(waited_s))
    elif mode == "drop":
        assert outcomes == ["http_429", "shed", "shed"]
        assert len(server.at_s) == 1
    else:
        assert outcomes == ["http_429", "success", "success"]
        assert waited_s == [0, 0, 0]
        assert len(server.at_s) == sent


def test_what_waits_for_the_budget_waits_out_the_pause_too() -> None:
    """The refused request's stake comes back at once: the next one fits, and must not go yet."""
    lender = Lender(BOUND + BILL, 1)
    server = Scripted(refusal(429, "slow down", "retry-after: 0.6"), answer(), delay_s=0.1)
    done, sender, _ = send(server, 2, money=budget(lender), lender=lender)
    assert [record.outcome for record, _ in done] == [Outcome.HTTP_429, Outcome.SUCCESS]
    assert server.at_s[1] - server.at_s[0] > 0.65
    assert sender.throttled_s["budget"] > 0.65


def test_a_wait_that_no_attempt_followed_is_no_part_of_the_last_ones_lag() -> None:
    done, sender, _ = send(Scripted(refusal(503)), rules=RetryRules(5), close_after_s=0.2)
    record = one(done)
    assert (record.outcome, record.attempts) == (Outcome.HTTP_5XX, 1)
    assert (record.throttled_ns, record.retried_ns) == (0, 0)
    assert record.client_lag_s is not None
    assert record.client_lag_s >= 0
    assert sender.throttled_s["http_5xx"] > 0.1, "it did wait"


def test_respected_and_retried_a_429_is_a_success() -> None:
    server = Scripted(refusal(429, "slow down", "retry-after-ms: 300"), answer())
    done, _, _ = send(server, rules=RetryRules(2))
    record = one(done)
    assert (record.outcome, record.attempts) == (Outcome.SUCCESS, 2)
    assert 0.29 < record.throttled_ns / 1e9 < 0.9
    assert record.ttft_s is not None
    assert record.ttft_s < 0.3


@pytest.mark.parametrize("status", [403, 429])
def test_out_of_credits_stops_at_once(status: int) -> None:
    text = (
        "Your team 6f0b4b1c has either used all available credits or reached its monthly spending limit. To "
        "continue making API requests, please purchase more credits or raise your spending limit."
    )
    server = Scripted(answer(), refusal(status, text), answer())
    done, sender, stops = send(server, 4, rules=RetryRules(5), gap_s=0.15)
    assert stops == [NO_CREDITS]
    assert len(server.at_s) == 2, "nothing is sent after the refusal, and it is not retried"
    assert [record.outcome for record, _ in done][2:] == [Outcome.SHED, Outcome.SHED]
    refused = done[1][0]
    assert out_of_credits(refused)
    assert sender.held_since_ns == refused.intended_ns


def test_other_refusals_are_no_lack_of_credits() -> None:
    done, _, stops = send(Scripted(refusal(429, "Too many requests for team x and model grok-4.3.")))
    assert not out_of_credits(one(done))
    assert stops == []


def budget(lender: Lender) -> Callable[[Callable[[Statement], None]], Money]:
    terms = bound_terms(TIER, bytes_per_token=4.0, preamble_tokens=192, max_reasoning_tokens=2_000)
    return lambda speak: Money(Purse(0), Bounds(SHEET, terms), speak)


# 500 tokens by 4 bytes are at most 667 by 3
BOUND = 667 * 12_500 + (10 + 2_000) * 25_000


def test_the_budget_holds_back_what_does_not_fit_and_goes_on_as_bills_come() -> None:
    """Room for two bounds, and for the bills of five requests in the end."""
    lender = Lender(2 * BOUND + 4 * BILL, 1)
    server = Scripted(answer(), delay_s=0.1)
    done, sender, _ = send(server, 5, money=budget(lender), lender=lender)
    assert [record.outcome for record, _ in done] == [Outcome.SUCCESS] * 5
    assert sender.final()["budget"]["spent_ticks"] == 5 * BILL
    assert sender.throttled_s["budget"] > 0.05
    waited = [record for record, _ in done if record.throttled_ns > 50_000_000]
    assert len(waited) == 3, "two had room at once"
    assert all(record.client_lag_s is not None and record.client_lag_s < 0.1 for record in waited)


def test_a_bill_that_never_comes_keeps_its_bound() -> None:
    lender = Lender(2 * BOUND + BILL - 1, 1)
    done, sender, _ = send(
        Scripted(answer(None), answer()), 3, money=budget(lender), lender=lender, gap_s=0.1, close_after_s=0.3
    )
    assert [record.outcome for record, _ in done] == [Outcome.SUCCESS, Outcome.SUCCESS, Outcome.SHED]
    facts = sender.final()["budget"]
    assert (facts["spent_ticks"], facts["reserved_ticks"], facts["kept_requests"]) == (BILL, BOUND, 1)
    assert lender.exhausted
    assert sender.held_since_ns == done[2][0].intended_ns


def test_a_broken_bound_is_reported_and_raises_the_next() -> None:
    dear = {**USAGE, "completion_tokens_details": {"reasoning_tokens": 3000}, "total_tokens": 3510}
    dear["cost_in_usd_ticks"] = 500 * 12_500 + 3010 * 25_000
    lender = Lender(100 * BOUND, 1)
    done, sender, _ = send(Scripted(answer(dear)), 2, money=budget(lender), lender=lender, gap_s=0.2)
    facts = sender.final()["budget"]
    assert facts["broken"] == 1, "the second request's bound was raised"
    assert facts["broken_ticks"] == dear["cost_in_usd_ticks"] - BOUND  # type: ignore[operator]
    assert facts["breaks"][0]["id"] == done[0][0].id
    assert facts["largest_reasoning_seen_tokens"] == 3000


@pytest.mark.parametrize("attempts", [1, 2, 3, 10])
def test_backoff_is_bounded_and_jittered(attempts: int) -> None:
    low, high = wait_s(attempts, None, 0.0), wait_s(attempts, None, 1.0)
    assert high == min(0.5 * 2 ** (attempts - 1), 30)
    assert low == high / 2
    assert wait_s(attempts, 4.0, 0.5) == pytest.approx(4.2)
