"""Fleets on the wall clock: prefill and decode apart, routers, drafts, power."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mock_server.engine_log import STEPS, EngineLog
from mock_server.serve import ServeOptions, build_models
from mock_server.utilisation import WINDOW_S, Utilisation
from servebench.catalog.load import load_catalog
from servebench.engine.power import power_watts
from servebench.errors import UsageError
from tests.mock_server.metrics_page import total
from tests.mock_server.raw_http import ask, chat_body, connect, request_bytes, stream_chat, whole_chat
from tests.mock_server.server_process import running_mock

FLAGS = ("--tier", "grok-4.3")


def engine_log(url: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(ask(url, "/debug/engine", method="GET")[2])["models"]["grok-4.3"]
    return rows


def content_of(events: list[Any]) -> list[str]:
    return [e["choices"][0]["delta"].get("content") or "" for e in events if e["choices"]]


def test_prefill_and_decode_apart_answer_like_one_replica() -> None:
    asks = {"max_completion_tokens": 12, "reasoning_effort": "none"}
    with running_mock(*FLAGS) as url:
        alone = [stream_chat(url, content=f"question {i}", **asks) for i in range(3)]
    with running_mock(*FLAGS, "--disaggregate", "1:2") as url:
        apart = [stream_chat(url, content=f"question {i}", **asks) for i in range(3)]
        whole = whole_chat(url, content="question 9", n=2, **asks)
        one_token = whole_chat(url, content="x", max_completion_tokens=1, reasoning_effort="none")
        prefill, *decoders = engine_log(url)
        assert total(url, "vllm:generation_tokens_total") == 3 * 12 + 2 * 12 + 1
    assert list(map(content_of, apart)) == list(map(content_of, alone))
    assert len(whole["choices"]) == 2
    assert one_token["usage"]["completion_tokens"] == 1
    assert [row["output_tokens"] for row in prefill["sequences"]] == [1] * 6
    decoded = [row for log in decoders for row in log["sequences"]]
    assert sorted(row["output_tokens"] for row in decoded) == [12] * 5
    assert all(log["sequences"] for log in decoders)  # spread over both
    legs = {row["id"]: row for row in prefill["sequences"]}
    for row in decoded:
        assert row["ready_s"] > legs[row["id"]]["finished_s"]  # the KV takes its time on the link
        assert row["first_token_s"] == legs[row["id"]]["first_token_s"]


def test_a_client_that_leaves_a_split_fleet_leaves_nothing_behind() -> None:
    with running_mock(*FLAGS, "--disaggregate", "1:1") as url:
        for tokens in (1, 2_000):  # at once, and while it decodes
            body = chat_body(stream=True, max_completion_tokens=5_000, reasoning_effort="none")
            with connect(url) as connection:
                connection.sendall(request_bytes("POST", "/v1/chat/completions", json.dumps(body).encode()))
                connection.recv(tokens)
        deadline = time.monotonic() + 10
        while total(url, "vllm:num_requests_running") or total(url, "vllm:kv_cache_usage_perc"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert total(url, "vllm:num_requests_waiting") == 0


@pytest.mark.parametrize(("router", "least", "most"), [("prefix-aware", 0.5, 1.0), ("round-robin", 0.0, 0.2)])
def test_the_router_is_the_fleets(router: str, least: float, most: float) -> None:
    """Three long prompts, each asked twice, on two replicas: in turn, the second asking finds no cache."""
    with running_mock(*FLAGS, "--replicas", "2", "--router", router) as url:
        prompts = [f"{i} " * 8_000 for i in range(3)]
        for prompt in prompts:
            whole_chat(url, content=prompt, max_completion_tokens=2, reasoning_effort="none")
        usages = [
            whole_chat(url, content=prompt, max_completion_tokens=2, reasoning_effort="none")["usage"]
            for prompt in prompts
        ]
    cached = sum(usage["prompt_tokens_details"]["cached_tokens"] for usage in usages)
    assert least <= cached / sum(usage["prompt_tokens"] for usage in usages) <= most


def test_drafts_make_chunks_of_several_tokens() -> None:
    with running_mock(*FLAGS, "--drafts", "3", "--accepted", "2.5") as url:
        events = stream_chat(url, max_completion_tokens=600, reasoning_effort="none")
    chunks = [text for text in content_of(events) if text]
    assert 600 / 4 < len(chunks) < 600
    assert 600 / len(chunks) == pytest.approx(2.5, rel=0.15)
    assert events[-1]["usage"]["completion_tokens"] == 600


def test_impossible_drafts_are_one_sentence() -> None:
    options = ServeOptions(("grok-4.3",), 1, "", 0, 0, frozenset(), 1.0, None, drafts=3, accepted=5.0)
    with pytest.raises(UsageError, match="give --accepted, 1 to 4"):
        build_models(options)


@given(st.integers(0, 3 * STEPS))
@settings(max_examples=12, deadline=None)
def test_the_log_keeps_the_last_steps_in_order(count: int) -> None:
    log = EngineLog()
    for i in range(count):
        log.step(float(i), -float(i))
    kept = log.to_json()
    assert kept["step_ends_s"] == [float(i) for i in range(max(0, count - STEPS), count)]
    assert kept["step_late_s"] == [-end_s for end_s in kept["step_ends_s"]]


def test_power_follows_the_load() -> None:
    tier = load_catalog().tier("grok-4.3")
    gpu = load_catalog().gpu(tier.serving.gpu_id)
    idle, full = (power_watts(gpu, tier.serving.gpus, share) for share in (0.0, 1.0))
    assert (idle, full) == (8 * 2170 / 2, 8 * 2170)
    with running_mock(*FLAGS) as url:
        assert total(url, "mock_power_watts") == idle
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(whole_chat, url, max_completion_tokens=400, reasoning_effort="none")
            time.sleep(1.0)
            assert idle < total(url, "mock_power_watts") <= full
            answer.result(30)


@given(
    steps=st.lists(st.tuples(st.floats(0, 3), st.floats(0.001, 3)), min_size=1, max_size=60),
    after_s=st.floats(0, 30),
)
def test_utilisation_is_the_busy_share_of_the_window(
    steps: list[tuple[float, float]], after_s: float
) -> None:
    utilisation, now_s, busy = Utilisation(), 100.0, []
    for idle_s, lasts_s in steps:
        start_s = now_s + idle_s
        now_s = start_s + lasts_s
        utilisation.step(start_s, now_s)
        busy.append((start_s, now_s))
    now_s += after_s
    since_s = max(now_s - WINDOW_S, busy[0][0])
    expected = sum(max(0.0, end_s - max(start_s, since_s)) for start_s, end_s in busy)
    span_s = WINDOW_S if busy[-1][1] <= now_s - WINDOW_S else now_s - since_s
    longest_s = max(end_s - start_s for start_s, end_s in busy)
    error = (0.26 + longest_s) / span_s  # a sample is of whole steps
    assert utilisation.share(now_s) == pytest.approx(expected / span_s, abs=error)
    assert 0 <= utilisation.share(now_s, now_s - 0.5) <= 1
