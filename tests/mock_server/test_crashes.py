"""Replicas that crash cut their streams, refuse with 503 what has no byte yet, and come back."""

import json
import time
from collections.abc import Iterator

import pytest

from tests.mock_server.faults_seen import PATH, assert_ends, inject, injected, last_entry, short
from tests.mock_server.metrics_page import total
from tests.mock_server.raw_http import ask, connect, request_bytes
from tests.mock_server.server_process import running_mock


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_mock("--tier", "grok-4.3", "--replicas", "2", "--time-scale", "20") as url:
        yield url


def test_a_crash_cuts_its_streams_and_the_replica_comes_back(url: str) -> None:
    inject(url)
    with connect(url) as connection:
        connection.sendall(request_bytes("POST", PATH, json.dumps(short(tokens=100_000)).encode()))
        assert connection.recv(65536)
        replica = next(i for i in range(2) if running(url, i))
        before = injected(url, "replica_crash")
        inject(url, {"kind": "replica_crash", "at_s": 0.1, "down_s": 3, "replica": replica})
        connection.settimeout(5)
        assert_ends(connection)
    assert injected(url, "replica_crash") == before + 1
    assert total(url, "mock_replica_up") == 1
    assert ask(url, PATH, short())[0] == 200  # by the other one
    assert total(url, "vllm:kv_cache_usage_perc") == 0
    wait_until_up(url)


def test_a_crash_by_request_is_503_where_no_byte_was_sent(url: str) -> None:
    inject(url, {"kind": "replica_crash", "down_s": 2, "stream": False})
    assert ask(url, PATH, short(False))[0] == 503
    assert last_entry(url)["outcome"] == "refused"
    assert ask(url, PATH, short(False))[0] == 503  # the other replica
    assert ask(url, PATH, short())[0] == 503  # none is left
    wait_until_up(url)
    assert ask(url, PATH, short())[0] == 200


def test_a_deferred_completion_whose_replica_crashed_is_503(url: str) -> None:
    inject(url, {"kind": "replica_crash", "down_s": 0.5})
    status, _, answer = ask(url, PATH, {**short(False), "deferred": True})
    assert status == 200
    path = f"/v1/chat/deferred-completion/{json.loads(answer)['request_id']}"
    status, deadline = 202, time.monotonic() + 20
    while status == 202 and time.monotonic() < deadline:
        time.sleep(0.05)
        status, headers, answer = ask(url, path, method="GET")
    assert (status, headers["retry-after"], json.loads(answer)["code"]) == (503, "1", "unavailable")
    assert ask(url, path, method="GET")[0] == 404
    assert (last_entry(url)["status"], last_entry(url)["outcome"]) == (503, "refused")
    wait_until_up(url)


def wait_until_up(url: str) -> None:
    deadline = time.monotonic() + 30
    while total(url, "mock_replica_up") < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert total(url, "mock_replica_up") == 2


def running(url: str, replica: int) -> float:
    return total(url, "vllm:num_requests_running", engine=str(replica))
