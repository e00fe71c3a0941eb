"""Long bodies are read by another process, and nothing but the time tells."""

import asyncio
import json
import os
import signal
import time
from typing import Any

import pytest
from openai import OpenAI

from mock_server.admission import HistoryNeededError, ServedTier, admit, admit_response
from mock_server.body_reader import BodyReader
from mock_server.model import Model, build_model
from mock_server.refusals import RefusalError
from mock_server.response_request import Turn
from mock_server.tokenization import token_list
from servebench.catalog.load import load_catalog
from tests.mock_server.metrics_page import total
from tests.mock_server.raw_http import ask, chat_body, connect, request_bytes
from tests.mock_server.server_process import mock_process

MODEL: Model = build_model(load_catalog(), load_catalog().tier("grok-4.3"), replicas=1, seed=0)
MODELS = {"grok-4.3": ServedTier(MODEL.tier, MODEL.kv_pool_tokens)}
MILLION = "four" * (1_000_000 - 192)  # with the preamble


def chunked(body: Any) -> list[bytes]:
    raw = json.dumps(body).encode()
    return [raw[i : i + 100_000] for i in range(0, len(raw), 100_000)]


def test_another_process_admits_as_this_one_does() -> None:
    async def run() -> None:
        reader = BodyReader(MODELS, seed=3)
        tools = [{"type": "function", "function": {"name": "f"}}]
        try:
            for body in (chat_body("long " * 200_000), chat_body("short", tools=tools, n=2)):
                whole = b"".join(chunked(body))
                assert await reader.admit_chat(chunked(body)) == admit(whole, MODELS, seed=3)
            for refused in (chat_body("four" * 1_000_000), {"model": "grok-4.3"}):
                with pytest.raises(RefusalError) as there:
                    await reader.admit_chat(chunked(refused))
                with pytest.raises(RefusalError) as here:
                    admit(b"".join(chunked(refused)), MODELS, seed=3)
                assert vars(there.value) == vars(here.value)
            text = {"model": "grok-4.3", "text": "ein Wörtchen " * 1000}
            assert await reader.tokens(chunked(text)) == token_list(b"".join(chunked(text)), MODELS)
        finally:
            reader.close()

    asyncio.run(run())


def test_a_long_conversation_is_continued_there_too() -> None:
    async def run() -> None:
        reader = BodyReader(MODELS, seed=0)
        first = {"model": "grok-4.3", "input": "once upon " * 50_000}
        body = {"model": "grok-4.3", "input": "a time", "previous_response_id": "a"}
        history = (Turn(tuple(chunked(first)), "an answer"),)
        try:
            with pytest.raises(HistoryNeededError) as needed:
                await reader.admit_response(chunked(body), None)
            assert needed.value.previous_id == "a"
            there = await reader.admit_response(chunked(body), history)
        finally:
            reader.close()
        assert there == admit_response(b"".join(chunked(body)), history, MODELS, seed=0)

    asyncio.run(run())


def test_requests_wait_their_turn_and_a_reader_that_dies_is_replaced() -> None:
    async def run() -> None:
        reader = BodyReader(MODELS, seed=0)
        bodies = [chat_body(f"{i} " + "word " * 100_000) for i in range(4)]
        try:
            first = await asyncio.gather(*[reader.admit_chat(chunked(body)) for body in bodies])
            assert reader.process_id is not None
            os.kill(reader.process_id, signal.SIGKILL)
            again = await asyncio.gather(*[reader.admit_chat(chunked(body)) for body in bodies])
            assert again == first
            assert len({admitted.block_keys for admitted in again}) == 4
            # one that is given up leaves the next its own answer
            given_up = asyncio.create_task(reader.admit_chat(chunked(bodies[0])))
            await asyncio.sleep(0.001)
            given_up.cancel()
            assert await reader.admit_chat(chunked(bodies[1])) == first[1]
        finally:
            reader.close()

    asyncio.run(run())


def test_a_long_body_costs_the_event_loop_a_few_milliseconds_at_most() -> None:
    """In CPU time, which no neighbour takes: here a body of 4 MB takes some 30 ms to parse and hash."""
    uvloop = pytest.importorskip("uvloop")

    async def run() -> float:
        reader = BodyReader(MODELS, seed=0)
        bodies = [chunked(chat_body(f"{i} " + MILLION[64:])) for i in range(5)]
        try:
            await reader.admit_chat(chunked(chat_body("warm " * 100_000)))
            start_s = time.thread_time()
            await asyncio.gather(*[reader.admit_chat(body) for body in bodies])
            return (time.thread_time() - start_s) / len(bodies)
        finally:
            reader.close()

    with asyncio.Runner(loop_factory=uvloop.Loop) as runner:  # the server's own
        there_s = min(runner.run(run()) for _ in range(2))
    start_s = time.thread_time()
    admit(b"".join(chunked(chat_body(MILLION[64:]))), MODELS, seed=0)
    here_s = time.thread_time() - start_s
    assert there_s < 0.01
    assert there_s < here_s / 3


def test_a_million_tokens_are_counted_prefilled_in_computed_time_held_and_cached() -> None:
    scale = 25.0
    body = chat_body(MILLION[4 * 20_000 :], max_completion_tokens=4, reasoning_effort="none")
    tokens = 980_000

    def prefill_s(url: str) -> float:
        return total(url, "vllm:request_prefill_time_seconds_sum")  # the engine's own

    with mock_process("--tier", "grok-4.3", "--time-scale", str(scale)) as (url, process):
        status, _, answer = ask(url, "/v1/chat/completions", body)
        assert status == 200, answer
        usage = json.loads(answer)["usage"]
        assert (usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"]) == (tokens, 0)
        assert usage["cost_in_usd_ticks"] == tokens * 25_000 + 4 * 50_000  # at the long-context rates
        first_s = prefill_s(url)
        assert first_s > 30  # as computed for this tier
        _, _, answer = ask(url, "/v1/chat/completions", body)
        cached = json.loads(answer)["usage"]["prompt_tokens_details"]["cached_tokens"]
        assert cached == (tokens - 1) // 64 * 64
        assert prefill_s(url) - first_s < first_s / 50
        again = {**body, "max_completion_tokens": 15_000, "stream": True}
        with connect(url) as connection:
            connection.sendall(request_bytes("POST", "/v1/chat/completions", json.dumps(again).encode()))
            connection.recv(65536)
            held = total(url, "vllm:kv_cache_usage_perc") * MODEL.kv_pool_tokens
        assert tokens <= held < tokens + 20_000
        # past the window
        status, _, answer = ask(url, "/v1/chat/completions", chat_body("four" * 1_000_000))
        assert status == 400
        assert "maximum prompt length is 1000000 but the request contains 1000192 tokens" in answer.decode()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_the_reader_ends_with_the_server() -> None:
    with mock_process("--tier", "grok-4.3") as (url, process):
        status, _, _ = ask(url, "/v1/chat/completions", chat_body("four" * 2_000_000))
        assert status == 400
        [child] = children_of(process.pid)
        process.kill()
        process.wait(10)
        deadline = time.monotonic() + 10
        while os.path.exists(f"/proc/{child}") and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not os.path.exists(f"/proc/{child}") or is_zombie(child)


def children_of(pid: int) -> list[int]:
    if not os.path.exists(f"/proc/{pid}/task/{pid}/children"):
        pytest.skip("no /proc with children")
    with open(f"/proc/{pid}/task/{pid}/children") as children:
        return [int(child) for child in children.read().split()]


def is_zombie(pid: int) -> bool:
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rsplit(")", 1)[1].split()[0] == "Z"


def test_the_openai_client_sends_a_long_response_and_continues_it(fast_client: OpenAI) -> None:
    fields: Any = {"model": "grok-4.3", "reasoning": {"effort": "none"}}
    first = fast_client.responses.create(input="a page " * 100_000, **fields)
    second = fast_client.responses.create(input="go on", previous_response_id=first.id, **fields)
    assert first.usage is not None
    assert second.usage is not None
    assert second.usage.input_tokens > first.usage.input_tokens
    assert second.usage.input_tokens_details.cached_tokens >= first.usage.input_tokens // 64 * 64
