"""What the journal says about a client, on made-up histories and on a real mock."""

import json
import time
from typing import Any

from mock_server.journal import Entry, Journal
from mock_server.verdicts import STORM_RETRIES, VERDICTS, summary, verdicts
from tests.mock_server.raw_http import ask, chat_body
from tests.mock_server.server_process import running_mock


def entry(at_s: float, body: str = "a", *, lasted_s: float = 0.1, **fields: Any) -> Entry:
    fields.setdefault("status", 200)
    fields.setdefault("outcome", "answered" if fields["status"] == 200 else "refused")
    return Entry(0, at_s, "/v1/chat/completions", "key", body, ended_s=at_s + lasted_s, model="m", **fields)


def words(*entries: Entry, now_s: float = 1000.0) -> dict[int, list[str]]:
    return verdicts(entries, now_s=now_s)


def test_an_orderly_client_gets_none() -> None:
    refused = entry(0, status=429, retry_after_s=2)
    assert words(refused, entry(2.2), entry(3, "b"), entry(3, "b"), entry(4, "b")) == {}
    assert words(entry(0, status=500), entry(1), entry(2, status=500), entry(3)) == {}


def test_a_request_inside_a_retry_after_ignores_it() -> None:
    refused = entry(0, status=429, retry_after_s=2)
    assert words(refused, entry(1, "b")) == {1: ["ignored_retry_after"]}
    assert words(refused, entry(1, "a")) == {1: ["ignored_retry_after", "retried_too_early"]}
    in_flight = entry(0.05, "b")  # sent before the client could know
    assert words(refused, in_flight) == {}


def test_a_storm_is_many_retries_of_what_failed() -> None:
    failures = [entry(i, status=500) for i in range(STORM_RETRIES + 1)]
    assert words(*failures) == {STORM_RETRIES: ["retry_storm"]}
    assert words(*[entry(10 * i, status=500) for i in range(9)]) == {}
    assert words(*[entry(i) for i in range(9)]) == {}  # the same prompt again is no retry


def test_some_errors_no_retry_mends() -> None:
    assert words(entry(0, status=403), entry(1, status=403)) == {1: ["retried_hopeless"]}
    unread = [entry(i, "", status=401) for i in range(9)]  # no key: their bodies may all differ
    assert words(*unread) == {}


def test_a_broken_answer_is_accepted_where_the_client_goes_on() -> None:
    cut = entry(0, faults=["cut"], outcome="broken")
    assert words(cut, now_s=5) == {}  # it may yet ask again
    assert words(cut, now_s=15) == {0: ["accepted_broken"]}
    assert words(cut, entry(1, "b"), now_s=5) == {0: ["accepted_broken"]}
    assert words(cut, entry(1, "a"), now_s=500) == {}
    assert words(entry(0, faults=["slow_ttft"]), now_s=500) == {}
    crashed = entry(0, outcome="crashed")
    assert words(crashed, now_s=500) == {0: ["accepted_broken"]}
    assert words(crashed, entry(1), now_s=500) == {}


def test_the_summary_adds_up_by_key() -> None:
    shown = summary([entry(0, outcome="left"), entry(0, status=403), entry(1, status=403)], now_s=5)
    assert shown["all"] == dict.fromkeys(VERDICTS, 0) | {
        "requests": 3, "left_early": 1, "retried_hopeless": 1,
    }  # fmt: skip
    assert shown["by_key"] == {"key": shown["all"]}


def test_the_journal_is_bounded() -> None:
    journal = Journal(3)
    for _ in range(5):
        journal.end(journal.begin("/"))
    assert [entry.id for entry in journal.entries] == [3, 4, 5]


def test_the_journal_of_a_real_mock() -> None:
    with running_mock("--tier", "grok-4.3", "--time-scale", "10") as url:
        body = chat_body("secret words", max_completion_tokens=3, reasoning_effort="none")
        path = "/v1/chat/completions"
        answer = json.loads(ask(url, path, body)[2])
        ask(url, path, body | {"model": "grok-9"})
        ask(url, path, body, headers={"Authorization": "nothing"})
        ask(url, "/admin/config", {"faults": [{"kind": "status", "status": 429, "retry_after_s": 30}]})
        before = time.time()
        ask(url, path, body)
        ask(url, "/admin/config", {})
        ask(url, path, body)
        raw = ask(url, "/admin/journal", method="GET")[2]
        assert b"secret" not in raw
        lines = [json.loads(line) for line in raw.splitlines()]
        assert [line["status"] for line in lines] == [200, 404, 401, 429, 200]
        first = lines[0]
        assert first["request_id"] == answer["id"]
        assert first["billed_ticks"] == answer["usage"]["cost_in_usd_ticks"]
        assert first["prompt_tokens"] == answer["usage"]["prompt_tokens"]
        assert (first["completion_tokens"], first["finish_reason"], first["max_tokens"]) == (3, "length", 3)
        assert 0 < first["queue_s"] <= first["ttft_s"] < first["e2e_s"]
        assert lines[3]["faults"] == ["status"]
        assert before <= lines[3]["arrived_s"] <= lines[3]["ended_s"]
        assert lines[4]["verdicts"] == ["ignored_retry_after", "retried_too_early"]
        shown = json.loads(ask(url, "/admin/verdict", method="GET")[2])
        assert shown["all"]["retried_too_early"] == 1
        assert ask(url, "/admin/reset", {})[0] == 200
        assert ask(url, "/admin/journal", method="GET")[2] == b""
