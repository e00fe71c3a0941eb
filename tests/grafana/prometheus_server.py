"""A real Prometheus on a free loopback port, one-second scrapes, and its query API."""

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

PROMETHEUS, PROMTOOL = shutil.which("prometheus"), shutil.which("promtool")


class PrometheusServer:
    """The HTTP API. Times are Unix seconds."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, **parameters: object) -> Any:
        query = urllib.parse.urlencode(parameters, doseq=True)
        try:
            with urllib.request.urlopen(f"{self.url}{path}?{query}", timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{parameters}: {error.read().decode()}") from None

    def instant(self, expr: str, *, at_s: float) -> list[tuple[dict[str, str], float]]:
        """(labels, value) of each series."""
        result = self.get("/api/v1/query", query=expr, time=at_s)["result"]
        return [(series["metric"], float(series["value"][1])) for series in result]

    def points(
        self, expr: str, *, start_s: float, end_s: float, step_s: int = 1
    ) -> list[tuple[dict[str, str], list[tuple[float, float]]]]:
        """(labels, (time, value) pairs) of each series."""
        found = self.get("/api/v1/query_range", query=expr, start=start_s, end=end_s, step=step_s)
        return [
            (series["metric"], [(at_s, float(text)) for at_s, text in series["values"]])
            for series in found["result"]
        ]

    def label_values(self, label: str, matcher: str, *, start_s: float, end_s: float) -> list[str]:
        """What Grafana asks for label_values(matcher, label)."""
        found = self.get(f"/api/v1/label/{label}/values", **{"match[]": matcher}, start=start_s, end=end_s)
        return [str(value) for value in found]


@contextmanager
def prometheus_server(folder: Path, targets: Sequence[str]) -> Iterator[PrometheusServer]:
    """Scrapes these host:port targets each second; stopped on the way out."""
    assert PROMETHEUS is not None
    port = _free_port()
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [{"job_name": "servebench", "static_configs": [{"targets": list(targets)}]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    command = [
        PROMETHEUS,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        server = PrometheusServer(f"http://127.0.0.1:{port}")
        _wait_until_ready(server, process, folder / "log")
        yield server
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(server: PrometheusServer, process: "subprocess.Popen[bytes]", log: Path) -> None:
    give_up_s = time.monotonic() + 30
    while time.monotonic() < give_up_s and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{server.url}/-/ready", timeout=2):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"prometheus did not start: {log.read_text(encoding='utf-8')}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
