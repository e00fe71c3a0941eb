"""/metrics: vLLM's names, labels and buckets, and counts that agree with the answers."""

import json
import time

import pytest

from mock_server.histogram import Histogram, one_two_five
from mock_server.telemetry import MAX_KEY_IDS, Ledger
from tests.mock_server.metrics_page import families, total
from tests.mock_server.raw_http import chat_body, connect, request_bytes, stream_chat, whole_chat
from tests.mock_server.server_process import running_mock

VLLM = """
prompt_tokens generation_tokens request_success num_preemptions prefix_cache_queries prefix_cache_hits
num_requests_running num_requests_waiting kv_cache_usage_perc cache_config_info
time_to_first_token_seconds inter_token_latency_seconds request_time_per_output_token_seconds
e2e_request_latency_seconds request_queue_time_seconds request_prefill_time_seconds
request_decode_time_seconds request_inference_time_seconds request_prompt_tokens
request_generation_tokens request_max_num_generation_tokens request_params_max_tokens request_params_n
iteration_tokens_total
"""


def test_names_types_and_labels(mock_url: str) -> None:
    page = families(mock_url)
    names = {f"vllm:{name}" for name in VLLM.split()}
    assert names <= {name.removesuffix("_total") for name in page} | set(page)
    for name, family in page.items():
        if name.startswith("vllm:"):
            assert all({"model_name", "engine"} <= sample.labels.keys() for sample in family.samples)
    assert page["vllm:num_requests_running"].type == "gauge"
    assert page["vllm:prompt_tokens"].type == "counter"
    reasons = {sample.labels["finished_reason"] for sample in page["vllm:request_success"].samples}
    assert reasons == {"stop", "length", "abort", "error"}


@pytest.mark.parametrize(
    ("name", "edges"),
    [
        (
            "inter_token_latency_seconds",
            "0.01 0.025 0.05 0.075 0.1 0.15 0.2 0.3 0.4 0.5 0.75 1 2.5 5 7.5 10 20 40 80",
        ),
        (
            "time_to_first_token_seconds",
            "0.001 0.005 0.01 0.02 0.04 0.06 0.08 0.1 0.25 0.5 0.75 1 2.5 5 7.5 10 20 40 80 160 640 2560",
        ),
        (
            "e2e_request_latency_seconds",
            "0.3 0.5 0.8 1 1.5 2 2.5 5 10 15 20 30 40 50 60 120 240 480 960 1920 7680",
        ),
        ("request_params_n", "1 2 5 10 20"),
    ],
)
def test_buckets_are_vllms(mock_url: str, name: str, edges: str) -> None:
    samples = families(mock_url)[f"vllm:{name}"].samples
    shown = [float(s.labels["le"]) for s in samples if s.name.endswith("_bucket")]
    assert shown == [*map(float, edges.split()), float("inf")]


def test_counts_agree_with_the_answers() -> None:
    with running_mock("--tier", "grok-4.3", "--replicas", "2") as url:
        prompt = generated = 0
        for i in range(3):
            usage = whole_chat(url, content=f"{i}", max_completion_tokens=5, reasoning_effort="none")["usage"]
            prompt += usage["prompt_tokens"]
            generated += usage["completion_tokens"]
        usage = stream_chat(url, max_completion_tokens=1, reasoning_effort="none")[-1]["usage"]
        prompt += usage["prompt_tokens"]
        generated += 1
        assert total(url, "vllm:prompt_tokens_total") == prompt
        assert total(url, "vllm:generation_tokens_total") == generated
        assert total(url, "vllm:request_success_total", finished_reason="length") == 4
        assert total(url, "vllm:time_to_first_token_seconds_count") == 4
        assert total(url, "vllm:inter_token_latency_seconds_count") == 3 * 4
        assert total(url, "vllm:request_time_per_output_token_seconds_count") == 3
        assert total(url, "vllm:iteration_tokens_total_sum") > generated
        engines = {s.labels["engine"] for s in families(url)["vllm:num_requests_running"].samples}
        assert engines == {"0", "1"}


def test_a_client_that_leaves_is_an_abort_and_frees_the_replica() -> None:
    with running_mock("--tier", "grok-4.3") as url:
        with connect(url) as connection:
            body = chat_body(stream=True, max_completion_tokens=50_000, reasoning_effort="none")
            connection.sendall(request_bytes("POST", "/v1/chat/completions", json.dumps(body).encode()))
            assert connection.recv(4096).startswith(b"HTTP/1.1 200 OK")
            assert total(url, "vllm:num_requests_running") == 1
            assert total(url, "vllm:kv_cache_usage_perc") > 0
        deadline = time.monotonic() + 5
        while total(url, "vllm:num_requests_running") and time.monotonic() < deadline:
            time.sleep(0.02)
        assert total(url, "vllm:num_requests_running") == 0
        assert total(url, "vllm:kv_cache_usage_perc") == 0
        assert total(url, "vllm:request_success_total", finished_reason="abort") == 1
        assert total(url, "vllm:prompt_tokens_total") > 192  # was prefilled, and had its first token
        assert total(url, "vllm:time_to_first_token_seconds_count") == 1
        assert total(url, "vllm:e2e_request_latency_seconds_count") == 0
        assert total(url, "mock_billed_ticks_total") == 0
        assert (
            whole_chat(url, max_completion_tokens=1, reasoning_effort="none")["usage"]["completion_tokens"]
            == 1
        )


def test_histogram_counts_are_cumulative_and_inclusive() -> None:
    histogram = Histogram((1.0, 2.0))
    for value, times in ((1.0, 3), (1.5, 1), (9.0, 2)):
        histogram.add(value, times)
    assert histogram.cumulative() == [("1.0", 3), ("2.0", 4), ("+Inf", 6)]
    assert histogram.sum == 22.5
    assert one_two_five(100) == (1, 2, 5, 10, 20, 50, 100)


def test_the_ledger_bounds_its_keys_and_loses_no_tick() -> None:
    ledger = Ledger()
    for i in range(2 * MAX_KEY_IDS):
        ledger.add(f"key {i}", 3)
    assert len(ledger.ticks) == MAX_KEY_IDS + 1
    assert sum(ledger.ticks.values()) == 6 * MAX_KEY_IDS
