"""Every query of vLLM's published Grafana dashboard answers on a real Prometheus that scrapes the mock.

Restated from the panels' meaning: request latency, throughput, inter-token latency, scheduler state, time to
first token, cache use, lengths, finish reasons, queue, prefill and decode time, tokens asked for.
"""

import json
import math
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.grafana.prometheus_server import PROMETHEUS, PrometheusServer, prometheus_server
from tests.mock_server.raw_http import ask, chat_body, connect, request_bytes
from tests.mock_server.server_process import running_mock

MODEL, WINDOW = 'model_name="grok-4.3"', "10s"
SCRAPES = 5  # while it is under load
PATH = "/v1/chat/completions"


def quantile(share: float, name: str) -> str:
    return f"histogram_quantile({share}, sum by(le) (rate(vllm:{name}_bucket{{{MODEL}}}[{WINDOW}])))"


def rate(name: str) -> str:
    return f"rate(vllm:{name}{{{MODEL}}}[{WINDOW}])"


LATENCIES = ("e2e_request_latency_seconds", "inter_token_latency_seconds", "time_to_first_token_seconds")
EXPRESSIONS = [
    *[quantile(share, name) for name in LATENCIES for share in (0.99, 0.95, 0.9, 0.5)],
    *[f"{rate(name + '_sum')} / {rate(name + '_count')}" for name in LATENCIES],
    rate("prompt_tokens_total"),
    rate("generation_tokens_total"),
    f"vllm:num_requests_running{{{MODEL}}}",
    f"vllm:num_requests_waiting{{{MODEL}}}",
    f"vllm:kv_cache_usage_perc{{{MODEL}}}",
    f"sum by(le) (increase(vllm:request_prompt_tokens_bucket{{{MODEL}}}[{WINDOW}]))",
    f"sum by(le) (increase(vllm:request_generation_tokens_bucket{{{MODEL}}}[{WINDOW}]))",
    f"sum by(finished_reason) (increase(vllm:request_success_total{{{MODEL}}}[{WINDOW}]))",
    rate("request_queue_time_seconds_sum"),
    rate("request_prefill_time_seconds_sum"),
    rate("request_decode_time_seconds_sum"),
    rate("request_max_num_generation_tokens_sum"),
]
OURS = [
    "sum(rate(mock_billed_usd_total[10s]))",
    "sum by (kind) (increase(mock_injected_faults_total[10s])) > 0",
    'mock_power_watts{model_name="grok-4.3"}',
    "mock_time_scale",
]


@dataclass(frozen=True, slots=True)
class Scraped:
    server: PrometheusServer
    start_s: float
    end_s: float

    def values(self, expr: str) -> list[float]:
        found = self.server.points(expr, start_s=self.start_s, end_s=self.end_s)
        return [value for _, points in found for _, value in points]


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    folder = tmp_path_factory.mktemp("prometheus")
    with (
        running_mock("--tier", "grok-4.3", "--time-scale", "5") as url,
        prometheus_server(folder, [url.removeprefix("http://")]) as server,
    ):
        ask(url, "/admin/config", {"faults": [{"kind": "status", "status": 500, "rate": 0.5}]})
        start_s, enough = time.time(), threading.Event()
        wait_for_scrapes(server, 1)
        threads = [threading.Thread(target=drive, args=(url, worker, enough)) for worker in range(4)]
        for thread in threads:
            thread.start()
        with connect(url) as held:  # something runs at every scrape
            body = chat_body(stream=True, max_completion_tokens=50_000, reasoning_effort="none")
            held.sendall(request_bytes("POST", PATH, json.dumps(body).encode()))
            wait_for_scrapes(server, 1 + SCRAPES)
            enough.set()
            for thread in threads:
                thread.join()
            yield Scraped(server, start_s, time.time())


def wait_for_scrapes(server: PrometheusServer, count: int) -> None:
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s:
        found = server.instant("count_over_time(mock_time_scale[2m])", at_s=time.time())
        if found and found[0][1] >= count:
            return
        time.sleep(0.2)
    raise AssertionError(f"prometheus has not scraped the mock {count} times")


def drive(url: str, worker: int, enough: threading.Event) -> None:
    turn = 0
    while not enough.is_set():
        turn += 1
        body = chat_body(f"{worker} {turn}", max_completion_tokens=20, reasoning_effort="none")
        ask(url, PATH, body)


def test_there_are_27() -> None:
    assert len(EXPRESSIONS) == len(set(EXPRESSIONS)) == 27


@pytest.mark.skipif(PROMETHEUS is None, reason="prometheus is not installed")
@pytest.mark.parametrize("expr", EXPRESSIONS + OURS)
def test_it_answers(scraped: Scraped, expr: str) -> None:
    values = [value for value in scraped.values(expr) if math.isfinite(value)]
    assert values
    if "waiting" not in expr:
        assert max(values) > 0


@pytest.mark.skipif(PROMETHEUS is None, reason="prometheus is not installed")
def test_latencies_are_the_engines(scraped: Scraped) -> None:
    """At five times the speed the page says what the engine computed, not what the wire showed."""
    itl_s = [value for value in scraped.values(quantile(0.5, LATENCIES[1])) if math.isfinite(value)]
    assert all(0.003 < value < 0.02 for value in itl_s)
