"""Locust's web UI in a real browser: our tab with its figures, and the stop button that loses nothing."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from servebench.drive.launch import free_port
from tests.browser import browser

pytestmark = pytest.mark.slow
QUICK = str(Path(__file__).parent / "quick.yaml")
ROWS = "[...document.querySelectorAll('tr')].map(row => [...row.cells].map(cell => cell.innerText))"
STOP = "[...document.querySelectorAll('button')].find(one => one.innerText.toLowerCase() == 'stop')"
NUMBER = re.compile(r"\d+(\.\d+)?")


@pytest.mark.parametrize("processes", ["0", "2"])
def test_the_tab_shows_figures_and_the_stop_button_loses_nothing(tmp_path: Path, processes: str) -> None:
    port = free_port()
    run = subprocess.Popen(
        [sys.executable, "-m", "servebench", "run", QUICK, "--rate", "20", "--duration", "90", "--quiet",
         "--processes", processes, "--web", "--web-port", str(port), "--out", "r"],
        cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    summary = tmp_path / "r" / "summary.json"
    try:
        with browser(tmp_path / "profile") as page:
            wait_until_up(port)
            page.open(f"http://127.0.0.1:{port}/?tab=llm")
            page.wait_for("document.body.innerText.includes('TTFT, from the intended start')", 40)
            page.wait_for(f"{ROWS}.some(row => row[0] == 'TPOT (ms)' && row[2] !== '')", 40)
            rows = {cells[0]: cells[1:] for cells in page.value(ROWS) if cells}
            for metric in ("TTFT, from the intended start (ms)", "ITL, gap between chunks (ms)", "TPOT (ms)"):
                n, p50, *_ = rows[metric]
                assert int(n) > 0
                assert float(p50) > 0
            assert re.fullmatch(r"\d+(\.\d+)?%", rows["Good requests (all objectives met)"][0])
            assert int(rows["Tokens, output"][0]) > 0
            assert float(rows["Cost (USD)"][0]) > 0
            page.wait_for(f"({STOP}) !== undefined", 10)
            page.value(f"({STOP}).click()")
            page.wait_for("fetch('/stats/requests').then(a => a.json()).then(a => a.state == 'stopped')", 60)
        assert summary.exists(), "the files stand before the page says that it has stopped"
    finally:
        os.killpg(run.pid, signal.SIGINT)
        try:
            stdout, stderr = run.communicate(timeout=40)
        finally:
            if run.poll() is None:
                os.killpg(run.pid, signal.SIGKILL)
                run.communicate()
    ids = [json.loads(line)["id"] for line in (tmp_path / "r" / "requests.jsonl").read_text().splitlines()]
    assert ids == list(range(len(ids))), "a hole in the ids is a lost record"
    facts = json.loads((tmp_path / "r" / "manifest.json").read_text())
    assert facts["interrupted"] is True
    assert len(ids) < facts["planned_requests"]
    assert sum(shard["records"] for shard in facts["shards"].values()) == len(ids)
    assert json.loads(summary.read_text())["classes"]["all"]["offered"] == len(ids)
    assert (tmp_path / "r" / "report.html").exists()
    assert run.returncode == 130, stderr
    assert "run directory: r" in stdout


def wait_until_up(port: int) -> None:
    import time

    until = time.monotonic() + 40
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5):
                return
        except OSError:
            assert time.monotonic() < until
            time.sleep(0.1)
