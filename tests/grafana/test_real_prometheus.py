"""Every query of the dashboard on a real Prometheus that scrapes a real collector, against what was fed.

Ten seconds of made-up records with 3 % faults, as deltas of LiveStats ten times a second; a second, older run
stands beside it and must not be seen.
"""

import math
import subprocess
import time
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import pytest

from servebench.export.collector import CollectorHandle
from servebench.results.live import LiveStats, bucket_edges
from servebench.results.slo import parse_slo
from tests.export.made_run import Ended, made_run
from tests.export.scraping import fetch
from tests.grafana.dashboard_run import Answer, DashboardRun
from tests.grafana.prometheus_server import PROMETHEUS, PROMTOOL, PrometheusServer, prometheus_server
from tests.grafana.reading import DASHBOARDS, GRAFANA, Target, load, resolve, targets

RATE_RPS, REQUESTS, UPDATES_PER_S = 60, 600, 10
BUDGET_USD, RESERVED_USD = 2.0, 0.25
SLOS = [parse_slo("ttft p95 < 400ms"), parse_slo("tpot p95 < 11ms")]
BOARD = load(GRAFANA / "dashboards" / "load-test.json")
ALL_TARGETS = list(targets(BOARD))
needs_prometheus = pytest.mark.skipif(PROMETHEUS is None, reason="prometheus is not installed")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool (Debian: prometheus) is not installed")


@dataclass(frozen=True, slots=True)
class Fed:
    ended: list[Ended]
    page: str
    dashboard: DashboardRun
    server: PrometheusServer
    start_s: float

    def answer(self, panel: str, ref_id: str = "A") -> Answer:
        (target,) = [one for one in ALL_TARGETS if (one.panel, one.ref_id) == (panel, ref_id)]
        return self.dashboard.ask(target)

    def sent(self, counts: list[int], at_s: float) -> float:
        """The sum of counts over the requests fed until then."""
        return sum(counts[: max(round((at_s - self.start_s) * RATE_RPS), 0)])

    def number(self, panel: str) -> float:
        """The one value of an instant panel."""
        ((_, ((_, value),)),) = self.answer(panel)
        return value


@pytest.fixture(scope="module")
def fed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fed]:
    labels = {"scenario": "chat", "model": "grok-4.3", "target": "mock"}
    other = CollectorHandle.start(labels=labels | {"run_id": "20261123T090000-chat-1"})
    handle = CollectorHandle.start(
        labels=labels | {"run_id": "20261124T090000-chat-7"}, info={"seed": "7", "price_date": "2026-11-24"}
    )
    ended = list(made_run(requests=REQUESTS, rate_rps=RATE_RPS, fault_share=0.03))
    scraped = [f"127.0.0.1:{handle.port}", f"127.0.0.1:{other.port}"]
    try:
        with prometheus_server(tmp_path_factory.mktemp("prometheus"), scraped) as server:
            wait_for_both(server)  # each run is seen at zero first, as one that waits for its T0 is
            feed_older_run(other)
            start_s = time.time()
            feed(handle, ended)
            page = fetch(handle.url)
            time.sleep(2.2)  # two more scrapes
            dashboard = DashboardRun(BOARD, server, start_s=start_s - 2, end_s=time.time())
            yield Fed(ended, page, dashboard, server, start_s)
    finally:
        handle.finish(0)
        other.finish(0)


def wait_for_both(server: PrometheusServer) -> None:
    """Prometheus 2.42 takes five seconds to its first scrape."""
    give_up_s = time.monotonic() + 30
    while sum(count for _, count in server.instant("count(servebench_run_info)", at_s=time.time())) != 2:
        assert time.monotonic() < give_up_s, "Prometheus did not scrape both collectors"
        time.sleep(0.1)


def feed_older_run(handle: CollectorHandle) -> None:
    live = LiveStats()
    for one in made_run(requests=50, rate_rps=50, fault_share=0.5, seed=3):
        live.add(one.record, one.chunk_us, cost_ticks=one.cost_ticks)
    handle.send({"delta": live.take(), "gauges": {"in_flight": 999, "client_cpu_ratio": 99.0}})


def feed(handle: CollectorHandle, ended: list[Ended]) -> None:
    """In real time: each tenth of a second what ended in it, and the gauges."""
    live = LiveStats(SLOS)
    began_s = time.monotonic()
    per_update = RATE_RPS // UPDATES_PER_S
    spent_ticks = 0
    for update, start in enumerate(range(0, len(ended), per_update)):
        for one in ended[start : start + per_update]:
            live.add(one.record, one.chunk_us, cost_ticks=one.cost_ticks)
            spent_ticks += sum(one.cost_ticks.values())
        gauges = {
            "in_flight": 20 + update % 3,
            "users": 5,
            "offered_rate_rps": RATE_RPS,
            "budget_usd": BUDGET_USD,
            "budget_spent_usd": spent_ticks / 1e10,
            "budget_reserved_usd": RESERVED_USD,
            "client_cpu_ratio": 0.4,
        }
        more: dict[str, object] = {"retries": {"http_429": 1}, "throttled_s": {"http_429": 0.02}}
        if update % 10 == 0:  # thirty reasons where twenty have room
            more["retries"] = {f"reason {number}": 1 for number in range(30)}
        phase = "warmup" if update < 20 else "steady"
        handle.send(
            {"delta": live.take(), "gauges": gauges, "phase": phase, "loop_stalls_s": [0.002], **more}
        )
        time.sleep(max(began_s + (update + 1) / UPDATES_PER_S - time.monotonic(), 0))


def finite(points: list[tuple[float, float]]) -> list[float]:
    return [value for _, value in points if math.isfinite(value)]


@needs_prometheus
@pytest.mark.parametrize("target", ALL_TARGETS, ids=lambda target: f"{target.panel}-{target.ref_id}")
def test_every_query_of_every_panel_answers(fed: Fed, target: Target) -> None:
    answer = fed.dashboard.ask(target)
    assert answer, f"no series: {target.expr}"
    for labels, points in answer:
        # a quantile of no request is NaN; it is so before the first and after the last only
        assert len(finite(points)) >= (1 if target.instant else 8), (labels, points)
    assert any(value > 0 for _, points in answer for value in finite(points)), target.expr


@needs_prometheus
def test_variables_offer_both_runs_and_choose_the_newest(fed: Fed) -> None:
    assert fed.dashboard.offered == {
        "scenario": ["chat"],
        "model": ["grok-4.3"],
        "target": ["mock"],
        "run_id": ["20261124T090000-chat-7", "20261123T090000-chat-1"],
    }
    assert fed.dashboard.chosen["run_id"] == "20261124T090000-chat-7"


@needs_prometheus
def test_dollars_are_exact(fed: Fed) -> None:
    usd = sum(sum(one.cost_ticks.values()) for one in fed.ended) / 1e10
    tokens = sum(
        (one.record.prompt_tokens or 0)
        + (one.record.completion_tokens or 0)
        + (one.record.reasoning_tokens or 0)
        for one in fed.ended
    )
    assert fed.number("Cost so far") == pytest.approx(usd, rel=1e-9)
    assert fed.number("$ per million tokens") == pytest.approx(usd / tokens * 1e6, rel=1e-9)
    assert fed.number("Budget used") == pytest.approx((usd + RESERVED_USD) / BUDGET_USD, rel=1e-9)


@needs_prometheus
def test_shares_are_exact(fed: Fed) -> None:
    good = [one for one in fed.ended if one.record.ok]
    met = [
        one
        for one in good
        if (one.record.ttft_s or math.inf) < 0.4 and (one.record.tpot_s or math.inf) < 0.011
    ]
    assert 0 < len(met) < len(good) < REQUESTS
    assert fed.number("Errors") == pytest.approx(1 - len(good) / REQUESTS, rel=1e-12)
    assert fed.number("Goodput") == pytest.approx(len(met) / REQUESTS, rel=1e-12)


@needs_prometheus
@pytest.mark.parametrize("metric", ["ttft", "itl"])
def test_p95_lies_in_the_bucket_of_the_exact_one(fed: Fed, metric: str) -> None:
    if metric == "ttft":
        exact = sorted(math.inf if one.record.ttft_s is None else one.record.ttft_s for one in fed.ended)
    else:
        exact = sorted(gap / 1e6 for one in fed.ended for gap in one.chunk_us[1:])
    p95 = exact[math.ceil(0.95 * len(exact)) - 1]
    edges = bucket_edges(metric, SLOS)
    assert bisect_left(edges, fed.number(f"{metric.upper()} p95")) == bisect_left(edges, p95)


@needs_prometheus
def test_rates_are_within_two_percent(fed: Fed) -> None:
    generated = [
        (one.record.completion_tokens or 0) + (one.record.reasoning_tokens or 0) for one in fed.ended
    ]
    for panel, counts in (
        ("Requests/s", [int(one.record.ok) for one in fed.ended]),
        ("Output tokens/s", generated),
    ):
        ((_, points),) = fed.answer(panel)
        inside = [(at_s, rate) for at_s, rate in points if 4 < at_s - fed.start_s < 10]
        true = [(fed.sent(counts, at_s) - fed.sent(counts, at_s - 4)) / 4 for at_s, _ in inside]
        assert len(inside) >= 5
        assert mean(rate for _, rate in inside) == pytest.approx(mean(true), rel=0.02), panel
    ((_, planned),) = fed.answer("Planned and achieved rate", "A")
    ((_, achieved),) = fed.answer("Planned and achieved rate", "B")
    assert planned[-1][1] == RATE_RPS
    assert max(finite(achieved)) == pytest.approx(RATE_RPS, rel=0.2)


@needs_prometheus
def test_totals_by_label_are_the_records_own(fed: Fed) -> None:
    counted: dict[str, int] = {}
    for one in fed.ended:
        counted[one.record.outcome.value] = counted.get(one.record.outcome.value, 0) + 1
    expr = resolve('servebench_requests_total{run_id="$run_id"} > 0', fed.dashboard.chosen)
    shown = {labels["outcome"]: count for labels, count in fed.server.instant(expr, at_s=fed.dashboard.end_s)}
    assert shown == counted
    drawn = {labels["outcome"] for labels, _ in fed.answer("Outcomes")}
    assert drawn >= set(counted)
    assert len(drawn) == 14  # each outcome is a series, seen or not


@needs_prometheus
def test_the_heatmap_counts_every_request(fed: Fed) -> None:
    last = {labels["le"]: finite(points) for labels, points in fed.answer("TTFT heatmap")}
    assert set(last) == {repr(edge) for edge in bucket_edges("ttft", SLOS)} | {"+Inf"}
    # increase() over 4 s, each second: four times over
    assert sum(last["+Inf"]) / 4 == pytest.approx(REQUESTS, rel=0.1)


@needs_prometheus
def test_phases_are_annotated(fed: Fed) -> None:
    (annotation,) = BOARD["annotations"]["list"]
    expr = resolve(annotation["expr"], fed.dashboard.chosen)
    spans = fed.server.points(expr, start_s=fed.dashboard.start_s, end_s=fed.dashboard.end_s)
    seen = {labels["phase"]: len(points) for labels, points in spans}
    assert set(seen) == {"starting", "warmup", "steady"}
    assert seen["steady"] > seen["warmup"] > 0


@needs_promtool
def test_promtool_accepts_the_configuration_the_rules_and_their_tests() -> None:
    assert PROMTOOL is not None
    folder = GRAFANA / "prometheus"
    for command in (
        ["check", "config", "prometheus.yml"],
        ["check", "rules", "rules.yml"],
        ["test", "rules", "rules.test.yml"],
    ):
        result = subprocess.run([PROMTOOL, *command], cwd=folder, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr


@needs_promtool
@needs_prometheus
def test_promtool_finds_nothing_wrong_with_the_page(fed: Fed) -> None:
    assert PROMTOOL is not None
    result = subprocess.run(
        [PROMTOOL, "check", "metrics"], input=fed.page, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout + result.stderr) == (0, "")


@needs_promtool
def test_a_broken_rule_is_seen(tmp_path: Path) -> None:
    assert PROMTOOL is not None
    text = (GRAFANA / "prometheus" / "rules.yml").read_text(encoding="utf-8").replace("> 0.05", "> 0.2")
    (tmp_path / "rules.yml").write_text(text, encoding="utf-8")
    tests = (GRAFANA / "prometheus" / "rules.test.yml").read_text(encoding="utf-8")
    (tmp_path / "rules.test.yml").write_text(tests, encoding="utf-8")
    result = subprocess.run(
        [PROMTOOL, "test", "rules", "rules.test.yml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode != 0


def test_there_is_a_dashboard_to_try() -> None:
    assert [path.name for path in DASHBOARDS] == ["load-test.json"]
    assert len(ALL_TARGETS) > 30
