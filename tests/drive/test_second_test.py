"""Tests one after the other in one process, as the web UI starts them, and runs stopped before they begin."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from servebench.drive.launch import free_port

pytestmark = pytest.mark.slow
QUICK = str(Path(__file__).parent / "quick.yaml")
SERVEBENCH = [sys.executable, "-m", "servebench", "run", QUICK, "--quiet"]


def facts(run_dir: Path) -> tuple[dict[str, Any], list[int]]:
    """The manifest, and the ids of the records."""
    ids = [json.loads(line)["id"] for line in (run_dir / "requests.jsonl").read_text().splitlines()]
    return json.loads((run_dir / "manifest.json").read_text()), ids


def ended(run: "subprocess.Popen[str]") -> str:
    """What it said; it is given half a minute."""
    try:
        return run.communicate(timeout=40)[1]
    finally:
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
            run.communicate()


def until(what: Any, seconds: float = 40.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_the_next_test_has_its_own_directory_and_the_workers_that_are_left(tmp_path: Path) -> None:
    port = free_port()
    run = subprocess.Popen(
        [*SERVEBENCH, "--rate", "20", "--duration", "2", "--processes", "2", "--web", "--web-port", str(port),
         "--out", "r"],
        cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip

    def state() -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/stats/requests", timeout=5) as answer:
                return str(json.load(answer)["state"])
        except OSError:
            return ""

    try:
        until(lambda: (tmp_path / "r" / "summary.json").exists() and state() == "stopped")
        first = (tmp_path / "r" / "requests.jsonl").read_bytes()
        children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
        workers = [int(pid) for pid in children if b"locust" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        os.kill(max(workers), signal.SIGKILL)
        time.sleep(6)  # Locust misses it after three heartbeats
        form = urlencode({"user_count": 2, "spawn_rate": 2}).encode()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/swarm", form, timeout=30) as answer:
            assert json.load(answer)["success"]
        until(lambda: (tmp_path / "r-2" / "summary.json").exists() and state() == "stopped")
        os.killpg(run.pid, signal.SIGINT)
    finally:
        said = ended(run)
    assert "Traceback" not in said
    assert (tmp_path / "r" / "requests.jsonl").read_bytes() == first
    second, ids = facts(tmp_path / "r-2")
    assert (second["run_id"], second["workers"], second["missing_workers"]) == ("r-2", 1, [])
    assert ids == list(range(second["planned_requests"]))


@pytest.mark.parametrize("processes", ["0", "2"])
def test_ctrl_c_before_the_load_has_begun(tmp_path: Path, processes: str) -> None:
    """While connections are being opened: nothing was measured, and that is no success."""
    run = subprocess.Popen(
        [*SERVEBENCH, "--warm-connections", "900", "--processes", processes, "--out", "r"],
        cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        until(lambda: (tmp_path / "r" / "parts").exists())
        time.sleep(1)
        os.killpg(run.pid, signal.SIGINT)
    finally:
        said = ended(run)
    assert run.returncode == 130, said
    assert "Traceback" not in said
