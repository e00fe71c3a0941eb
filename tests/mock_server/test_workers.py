"""Several processes behind one port are one mock: requests, counts, limits, faults, stored answers."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from tests.mock_server.metrics_page import families, total
from tests.mock_server.raw_http import ask, chat_body, connect, events, read_answer, request_bytes
from tests.mock_server.server_process import mock_process, running_mock
from tests.mock_server.test_process import run

PATH, FLAGS = "/v1/chat/completions", ("--tier", "grok-4.3", "--replicas", "4", "--workers", "2")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_mock(*FLAGS, "--time-scale", "20") as url:
        yield url


def short(content: str = "hello", **fields: Any) -> dict[str, Any]:
    return chat_body(content, reasoning_effort="none", **{"max_completion_tokens": 5, **fields})


def reset(url: str, **config: Any) -> None:
    assert ask(url, "/admin/config", config)[0] == 200
    assert ask(url, "/admin/reset", {})[0] == 200


def journal(url: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in ask(url, "/admin/journal", method="GET")[2].splitlines()]


def children(process_id: int) -> list[int]:
    listed = Path(f"/proc/{process_id}/task/{process_id}/children").read_text(encoding="ascii")
    return [int(child) for child in listed.split()]


def test_one_connection_is_served_by_every_replica_and_the_counts_are_exact(url: str) -> None:
    reset(url)
    before = {name: total(url, name) for name in COUNTED}
    usages = []
    with connect(url) as connection:
        for i in range(12):
            connection.sendall(request_bytes("POST", PATH, json.dumps(short(f"{i}")).encode()))
            status, _, body = read_answer(connection)
            assert status == 200
            usages.append(json.loads(body)["usage"])
    assert {line["replica"] for line in journal(url)} == {0, 1, 2, 3}
    assert len(journal(url)) == 12
    after = {name: total(url, name) - before[name] for name in COUNTED}
    assert after["vllm:prompt_tokens_total"] == sum(usage["prompt_tokens"] for usage in usages)
    assert after["vllm:generation_tokens_total"] == 5 * 12
    assert after["vllm:e2e_request_latency_seconds_count"] == 12
    assert after["mock_billed_ticks_total"] == sum(usage["cost_in_usd_ticks"] for usage in usages)
    engines = {sample.labels["engine"] for sample in families(url)["vllm:num_requests_running"].samples}
    assert engines == {"0", "1", "2", "3"}


COUNTED = (
    "vllm:prompt_tokens_total", "vllm:generation_tokens_total", "vllm:e2e_request_latency_seconds_count",
    "mock_billed_ticks_total",
)  # fmt: skip


def test_streams_and_long_bodies_are_handed_over_whole(url: str) -> None:
    reset(url)
    with connect(url) as connection:
        for i in range(6):
            body = short("word " * 100_000 + f"{i}", stream=True, stream_options={"include_usage": True})
            connection.sendall(request_bytes("POST", PATH, json.dumps(body).encode()))
            sent = events(read_answer(connection)[2])
            assert sent[-1]["usage"]["prompt_tokens"] > 125_000
            assert len(sent) == 7
    assert {line["replica"] % 2 for line in journal(url)} == {0, 1}  # both workers'


@pytest.mark.parametrize("header", ["x-grok-conv-id", "x-mock-handed-over"])
def test_headers_that_are_no_text_are_no_error_of_the_server(url: str, header: str) -> None:
    body = json.dumps(short()).encode()
    sent = request_bytes("POST", PATH, body, {"Authorization": "Bearer any", header: "ID 1"})
    with connect(url) as connection:
        connection.sendall(sent.replace(b"ID", b"\xff\xfe"))
        assert read_answer(connection)[0] == 200


def test_a_limit_holds_over_all_workers(url: str) -> None:
    reset(url, limits={"requests_per_s": 2, "tokens_per_min": 10**9})
    began_s = time.monotonic()
    statuses = [ask(url, PATH, short(f"{i}"))[0] for i in range(8)]
    took_s = time.monotonic() - began_s
    assert 2 <= statuses.count(200) <= 2 + 2 * took_s + 1e-6
    assert set(statuses) == {200, 429}


def test_faults_reach_all_workers_and_are_the_same_whoever_is_asked(url: str) -> None:
    rule = {"kind": "status", "status": 500, "rate": 0.5}
    before = total(url, "mock_injected_faults_total", kind="status")
    runs = []
    for _ in range(2):
        reset(url, faults=[rule], seed=5)
        runs.append([ask(url, PATH, short(f"{i % 8}"))[0] for i in range(16)])
    assert runs[0] == runs[1]
    assert 0 < runs[0].count(500) < 16
    injected = total(url, "mock_injected_faults_total", kind="status") - before
    assert injected == 2 * runs[0].count(500)
    for _ in range(4):  # any worker shows the document
        assert json.loads(ask(url, "/admin/config", method="GET")[2])["seed"] == 5


def test_a_crashed_replica_is_avoided_by_all(url: str) -> None:
    reset(url, faults=[{"kind": "replica_crash", "at_s": 0, "down_s": 60, "replica": 3}])
    time.sleep(0.2)
    assert total(url, "mock_replica_up") == 3
    assert all(ask(url, PATH, short(f"{i}"))[0] == 200 for i in range(8))
    assert {line["replica"] for line in journal(url)} <= {0, 1, 2}  # ties are drawn: not all need have one
    assert total(url, "mock_injected_faults_total", kind="replica_crash") == 2  # set, and again at the reset


def test_stored_answers_are_found_from_everywhere() -> None:
    with (
        running_mock(*FLAGS, "--time-scale", "20") as url,
        OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0, timeout=30) as client,
    ):
        made = [client.responses.create(model="grok-4.3", input=f"number {i}") for i in range(3)]
        for response in made:
            assert client.responses.retrieve(response.id).output_text == response.output_text
            more = client.responses.create(model="grok-4.3", input="and?", previous_response_id=response.id)
            assert more.usage is not None
            assert response.usage is not None
            assert more.usage.input_tokens > response.usage.input_tokens
        client.responses.delete(made[0].id)
        for _ in range(4):
            assert ask(url, f"/v1/responses/{made[0].id}", method="GET")[0] == 404
        deferred = [json.loads(ask(url, PATH, short(f"{i}", deferred=True))[2]) for i in range(4)]
        time.sleep(0.5)
        for one in deferred:
            path = f"/v1/chat/deferred-completion/{one['request_id']}"
            status, _, body = ask(url, path, method="GET")
            assert status == 200
            assert json.loads(body)["usage"]["completion_tokens"] == 5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_them_all_with_0(number: int) -> None:
    with mock_process(*FLAGS) as (url, process), connect(url) as connection:
        connection.sendall(request_bytes("GET", "/health"))
        assert connection.recv(1000)
        workers = children(process.pid)
        assert len(workers) == 2
        process.send_signal(number)
        assert process.wait(30) == 0
        assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_a_killed_owner_ends_them_all() -> None:
    with mock_process(*FLAGS) as (_, process):
        workers = children(process.pid)
        process.kill()
        process.wait(30)
        deadline = time.monotonic() + 30
        while any(Path(f"/proc/{worker}").exists() for worker in workers) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not any(Path(f"/proc/{worker}").exists() for worker in workers)


def test_a_worker_that_dies_ends_the_mock_with_a_sentence() -> None:
    with mock_process(*FLAGS) as (_, process):
        os.kill(children(process.pid)[0], signal.SIGKILL)
        assert process.wait(30) == 1
        assert process.stderr is not None
        said = process.stderr.read()
        assert said.startswith("mock_server: a worker ended by itself: process ")
        assert said.count("\n") == 1


def test_what_several_processes_cannot_do_is_refused_all_at_once() -> None:
    done = run("--tier", "grok-4.3", "--workers", "2", "--router", "prefix-aware", "--disaggregate", "1:1")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 3
    assert "a worker needs a replica of its own" in done.stderr
