"""The dashboard over a real run: mock, Locust, collector and Prometheus, each as users have them."""

import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from servebench.drive.launch import free_port
from tests.grafana.dashboard_run import DashboardRun
from tests.grafana.prometheus_server import PROMETHEUS, PrometheusServer, prometheus_server
from tests.grafana.reading import GRAFANA, load, targets

BOARD = load(GRAFANA / "dashboards" / "load-test.json")
SCENARIO = Path(__file__).parents[1] / "drive" / "quick.yaml"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROMETHEUS is None, reason="prometheus is not installed"),
]


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[dict[str, Any], DashboardRun, PrometheusServer]]:
    """summary.json of a run of ten seconds, and the dashboard over its span."""
    here = tmp_path_factory.mktemp("run")
    port = free_port()
    with prometheus_server(tmp_path_factory.mktemp("prometheus"), [f"127.0.0.1:{port}"]) as server:
        start_s = time.time()
        flags = ["--duration", "10", "--warmup", "1", "--slo", "ttft p90 < 2s", "--json", "--quiet"]
        command = [sys.executable, "-m", "servebench", "run", str(SCENARIO), "--out", "r"]
        command += ["--metrics-port", str(port), *flags]
        done = subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=90, check=False)
        assert done.returncode in (0, 4, 5), done.stderr
        board = DashboardRun(BOARD, server, start_s=start_s, end_s=time.time())
        yield json.loads(done.stdout), board, server


def total(server: PrometheusServer, expr: str, board: DashboardRun) -> float:
    return sum(value for _, value in server.instant(f"last_over_time({expr}[1m])", at_s=board.end_s))


def test_every_panel_answers(
    finished: tuple[dict[str, Any], DashboardRun, PrometheusServer],
) -> None:
    _, board, _ = finished
    silent = []
    for target in targets(BOARD):
        points = [value for _, line in board.ask(target) for _, value in line]
        if not any(math.isfinite(value) for value in points):
            silent.append((target.panel, target.ref_id))
    # a budget is shown only where one was set
    assert [one for one in silent if "udget" not in one[0]] == []


def test_prometheus_ends_with_the_summary_s_own_numbers(
    finished: tuple[dict[str, Any], DashboardRun, PrometheusServer],
) -> None:
    summary, board, server = finished
    whole = summary["classes"]["all"]
    assert total(server, "servebench_requests_total", board) == whole["offered"]
    success = 'servebench_requests_total{outcome="success"}'
    assert total(server, success, board) == whole["completed"]
    for kind, count in whole["tokens"].items():
        assert total(server, f'servebench_tokens_total{{type="{kind}"}}', board) == count
    assert total(server, "servebench_cost_usd_total", board) == pytest.approx(
        float(whole["cost_usd"]), abs=0.005
    )
