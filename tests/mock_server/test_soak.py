"""Clients of every kind against every fault at once: nothing is left behind or logged, no tick is lost."""

import asyncio
import json
import signal
import time
from random import Random
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.mock_server.metrics_page import total
from tests.mock_server.raw_http import ask, chat_body, request_bytes
from tests.mock_server.server_process import mock_process

REQUESTS = 250
FAULTS: list[dict[str, Any]] = [
    {"kind": "status", "status": 500, "rate": 0.05},
    {"kind": "status", "status": 429, "retry_after_s": 1, "rate": 0.05},
    {"kind": "slow_ttft", "delay_s": 0.1, "rate": 0.1},
    {"kind": "stall", "after_events": 3, "for_s": 0.1, "rate": 0.1},
    {"kind": "wrong_usage", "factor": 2, "rate": 0.2},
    {"kind": "replica_crash", "down_s": 0.1, "rate": 0.03},
    *({"kind": kind, "rate": 0.2} for kind in ("no_usage", "no_finish", "no_done")),
    *(
        {"kind": kind, "after_events": 4, "rate": 0.08}
        for kind in ("cut", "reset", "malformed_event", "malformed_chunk", "error_event")
    ),
]
ARGUMENTS = {"type": "object", "properties": {"a": {"const": "data: {"}}, "required": ["a"]}


def a_request(rng: Random) -> tuple[str, dict[str, Any]]:
    """Its path and body; texts look like events now and then."""
    text = " ".join(rng.choices(["data:", "event: y", "hello"], k=rng.choice([3, 2_000])))
    effort, most, stream = rng.choice(["none", "low"]), rng.randint(1, 40), rng.random() < 0.7
    function = {"name": "f", "parameters": ARGUMENTS}
    with_tool = rng.random() < 0.2
    if rng.random() < 0.4:
        tools = [{"type": "function", **function}] if with_tool else []
        body = {"model": "grok-4.3", "input": text, "instructions": text[:40], "stream": stream}
        body |= {"max_output_tokens": most, "reasoning": {"effort": effort}, "tools": tools}
        return "/v1/responses", body
    fields: dict[str, Any] = {"stream": stream, "max_tokens": most, "reasoning_effort": effort}
    fields["n"] = rng.choice([1, 1, 3])
    fields["deferred"] = not stream and rng.random() < 0.2
    fields["tools"] = [{"type": "function", "function": function}] if with_tool else []
    return "/v1/chat/completions", chat_body(text, **fields)


async def one_client(url: str, rng: Random) -> None:
    """Sends, and reads to the end or leaves in the middle."""
    path, body = a_request(rng)
    headers = {"Authorization": f"Bearer {rng.choice('ab')}", "Connection": "close"}
    version = rng.choice(["1.1", "1.1", "1.0"])
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        writer.write(request_bytes("POST", path, json.dumps(body).encode(), headers, version))
        await writer.drain()
        if rng.random() < 0.25:
            await asyncio.wait_for(reader.read(rng.choice([1, 500])), 60)
        else:
            await asyncio.wait_for(reader.read(-1), 60)
    except ConnectionError:
        pass
    finally:
        writer.transport.abort()


async def all_clients(url: str) -> None:
    rng = Random(20261128)
    tasks = []
    for _ in range(REQUESTS):
        tasks.append(asyncio.create_task(one_client(url, Random(rng.random()))))
        await asyncio.sleep(rng.expovariate(200))
    await asyncio.gather(*tasks)


def settled(url: str) -> list[dict[str, Any]]:
    """The journal, once nothing runs and all that left have been noted."""
    lines: list[dict[str, Any]] = []
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        busy = sum(total(url, f"vllm:num_requests_{state}") for state in ("running", "waiting"))
        lines = [json.loads(line) for line in ask(url, "/admin/journal", method="GET")[2].splitlines()]
        if len(lines) == REQUESTS and not busy:
            break
        time.sleep(0.1)
    return lines


@pytest.mark.parametrize(
    "fleet",
    [
        ("--replicas", "3"),
        ("--replicas", "2", "--disaggregate", "1:1", "--drafts", "3", "--accepted", "2"),
        ("--replicas", "4", "--workers", "2"),
    ],
    ids=["whole", "split", "workers"],
)
def test_nothing_is_left_behind_and_no_tick_is_lost(fleet: tuple[str, ...]) -> None:
    with mock_process("--tier", "grok-4.3", "--time-scale", "20", *fleet) as (url, process):
        assert ask(url, "/admin/config", {"faults": FAULTS})[0] == 200
        asyncio.run(all_clients(url))
        lines = settled(url)
        assert len(lines) == REQUESTS
        assert total(url, "vllm:num_requests_running") + total(url, "vllm:num_requests_waiting") == 0
        assert total(url, "vllm:kv_cache_usage_perc") == 0
        assert all(line["outcome"] for line in lines)
        assert sum(line["billed_ticks"] for line in lines) == total(url, "mock_billed_ticks_total") > 0
        happened = [kind for line in lines for kind in line["faults"]]
        assert set(happened) == {rule["kind"] for rule in FAULTS}
        for kind in set(happened):
            assert happened.count(kind) == total(url, "mock_injected_faults_total", kind=kind)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
