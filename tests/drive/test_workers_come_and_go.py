"""Workers that leave in mid-run, and those that come too late: nothing is lost, and nothing is hidden."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from servebench.drive.launch import free_port

pytestmark = pytest.mark.slow
QUICK = str(Path(__file__).parent / "quick.yaml")
RUN = [sys.executable, "-m", "servebench", "run"]


class Elsewhere:
    """A master and workers, each with a working directory of its own, as on hosts of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = str(free_port())
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, name: str, *arguments: str) -> "subprocess.Popen[str]":
        (self.folder / name).mkdir()
        process = subprocess.Popen(
            [*RUN, *arguments, "--master-port", self.port], cwd=self.folder / name, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "TMPDIR": str(self.folder / name)},
        )  # fmt: skip
        self.processes.append(process)
        return process

    def worker(self, name: str) -> "subprocess.Popen[str]":
        return self.start(name, "--worker")

    def loaded(self, name: str) -> None:
        """Wait until that worker has records."""
        end = time.monotonic() + 40
        while not any(path.stat().st_size for path in (self.folder / name).rglob("requests.*.jsonl")):
            assert time.monotonic() < end
            time.sleep(0.1)


@contextmanager
def elsewhere(folder: Path) -> Iterator[Elsewhere]:
    those = Elsewhere(folder)
    try:
        yield those
    finally:
        for process in those.processes:
            if process.poll() is None:
                process.kill()
            process.communicate()


def facts(run_dir: Path) -> tuple[dict[str, Any], list[int]]:
    ids = [json.loads(line)["id"] for line in (run_dir / "requests.jsonl").read_text().splitlines()]
    return json.loads((run_dir / "manifest.json").read_text()), ids


def test_a_worker_that_is_told_to_go_hands_in_what_it_has(tmp_path: Path) -> None:
    with elsewhere(tmp_path) as those:
        leaver, stayer = those.worker("one"), those.worker("two")
        run = those.start(
            "master", QUICK, "--duration", "7", "--master", "--expect-workers", "2", "--json", "--quiet",
            "--out", "r",
        )  # fmt: skip
        those.loaded("one")
        time.sleep(1.5)
        leaver.send_signal(signal.SIGTERM)
        _, left = leaver.communicate(timeout=30)
        stdout, stderr = run.communicate(timeout=60)
        stayer.communicate(timeout=20)
    assert run.returncode == 5, stderr
    (kept,) = [path for path in (tmp_path / "one").iterdir() if path.name.startswith("servebench-")]
    assert str(kept) in left, "what it can't be sure to have handed in stays, and it says where"
    manifest, ids = facts(tmp_path / "master" / "r")
    own = {id % 2 for id in ids}
    assert own == {0, 1}, "the leaver's records are there"
    assert len(ids) < manifest["planned_requests"]
    assert any("left no record" in reason for reason in json.loads(stdout)["invalid_reasons"])


def test_a_worker_that_comes_late_to_a_closed_loop_is_no_secret(tmp_path: Path) -> None:
    with elsewhere(tmp_path) as those:
        those.worker("one")
        run = those.start(
            "master", QUICK, "--users", "8", "--duration", "16", "--master", "--expect-workers", "1",
            "--json", "--quiet", "--out", "r",
        )  # fmt: skip
        those.loaded("one")
        late = those.worker("late")
        stdout, stderr = run.communicate(timeout=80)
        _, said = late.communicate(timeout=20)
    assert "Traceback" not in said + stderr
    assert run.returncode == 5, stderr
    assert any("came after the start" in reason for reason in json.loads(stdout)["invalid_reasons"])
