"""`servebench run` end to end: a real mock, a real Locust, on loopback."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from servebench.drive.launch import free_port

SERVEBENCH = [sys.executable, "-m", "servebench"]


def servebench(
    *arguments: str, cwd: Path, timeout_s: float = 90, **env: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*SERVEBENCH, *arguments],
        cwd=cwd, capture_output=True, text=True, timeout=timeout_s, check=False,
        env={**os.environ, **env}, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def records(run_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run_dir / "requests.jsonl").read_text().splitlines()]


def manifest(run_dir: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((run_dir / "manifest.json").read_text())
    return loaded


QUICK = str(Path(__file__).parent / "quick.yaml")
SHORT = ("run", QUICK, "--seed", "7", "--json", "--quiet")


@pytest.mark.slow
def test_one_and_two_workers_do_the_same(tmp_path: Path) -> None:
    hashes, ids = [], []
    for processes in ("0", "1", "2"):
        out = tmp_path / processes
        done = servebench(*SHORT, "--processes", processes, "--out", str(out), cwd=tmp_path)
        assert done.returncode in (0, 5), (
            done.stderr
        )  # a busy machine may be INVALID; the requests are the same
        summary = json.loads(done.stdout)
        assert summary["classes"]["all"]["failed"] == 0, summary["classes"]["all"]["outcomes"]
        rows = records(out)
        assert summary["classes"]["all"]["offered"] == len(rows) > 40
        hashes.append(manifest(out)["schedule_hash"])
        ids.append([row["id"] for row in rows])
        assert all(row["cost_source"] == "billed" for row in rows)
        assert (out / "report.html").stat().st_size > 1000
    assert hashes[0] == hashes[1] == hashes[2]
    assert ids[0] == ids[1] == ids[2] == list(range(len(ids[0])))


@pytest.mark.slow
def test_a_gate_that_can_not_hold_fails_with_3_and_writes_junit(tmp_path: Path) -> None:
    done = servebench(
        *SHORT, "--slo", "ttft p50 < 1ms", "--junit", "gate.xml", "--out", "r", cwd=tmp_path
    )  # fmt: skip
    assert done.returncode in (3, 5), done.stderr
    assert json.loads(done.stdout)["verdict"] == "FAIL"
    # an INVALID run's gates are errors
    assert ("<failure" if done.returncode == 3 else "<error") in (tmp_path / "gate.xml").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_loses_nothing(tmp_path: Path, stop: signal.Signals) -> None:
    process = subprocess.Popen(
        [*SERVEBENCH, "run", QUICK, "--rate", "30", "--duration", "60", "--processes", "2", "--out", "r"],
        cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 30
    parts = tmp_path / "r" / "parts"
    while time.monotonic() < deadline and not any(p.stat().st_size for p in parts.glob("requests.*")):
        time.sleep(0.1)
    time.sleep(1)
    if stop is signal.SIGINT:
        os.killpg(process.pid, stop)  # as a terminal does
    else:
        os.kill(process.pid, stop)
    _, stderr = process.communicate(timeout=40)
    assert process.returncode == 130, stderr
    rows = records(tmp_path / "r")
    ids = [row["id"] for row in rows]
    assert ids == list(range(len(ids))), "a hole in the ids is a lost record"
    assert len(ids) >= 10
    assert manifest(tmp_path / "r")["interrupted"] is True


@pytest.mark.slow
def test_the_metrics_endpoint_agrees_with_the_summary(tmp_path: Path) -> None:
    port = free_port()
    process = subprocess.Popen(
        [*SERVEBENCH, *SHORT, "--metrics-port", str(port), "--out", "r"],
        cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    last = ""
    while process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=2) as response:
                last = response.read().decode()
        except OSError:
            pass
        time.sleep(0.2)
    stdout, _ = process.communicate()
    whole = json.loads(stdout)["classes"]["all"]
    scraped: dict[str, float] = {}
    for line in last.splitlines():
        if not line.startswith("#") and line:
            series, value = line.rsplit(" ", 1)
            scraped[series] = float(value)

    def total(name: str, *wanted: str) -> float:
        return sum(v for k, v in scraped.items() if k.startswith(name + "{") and all(w in k for w in wanted))

    assert total("servebench_requests_total") == whole["offered"]
    assert total("servebench_requests_total", 'outcome="success"') == whole["completed"]
    assert total("servebench_ttft_seconds_count") == whole["ttft_s"]["n"]
    for kind in ("input", "cached_input", "output", "reasoning"):
        assert total("servebench_tokens_total", f'type="{kind}"') == whole["tokens"][kind]
    assert total("servebench_cost_usd_total") == pytest.approx(float(whole["cost_usd"]), rel=1e-9)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("run", "no-such-scenario"), 2, "no-such-scenario"),
        (("run", "chat", "--model", "grok-99"), 2, "grok-99"),
        (("run", "chat", "--target", "xai"), 2, "XAI_API_KEY"),
        (("run", "chat", "--slo", "ttft p99 < soon"), 2, "ttft p99 < soon"),
        (("run", "chat", "--users", "3", "--rate", "4"), 2, "closed loop"),
        (("run", "chat", "--trace", "missing.csv"), 2, "missing.csv"),
        (("run",), 2, "SCENARIO"),
    ],
)
def test_bad_input_is_one_clear_sentence(
    tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "XAI_API_KEY"}
    done = subprocess.run(
        [*SERVEBENCH, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        env=environment,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists(), "bad input leaves no run behind"


def test_a_target_that_is_down_is_exit_1(tmp_path: Path) -> None:
    done = servebench("run", "chat", "--target", f"http://127.0.0.1:{free_port()}", cwd=tmp_path)
    assert done.returncode == 1
    assert "does not answer" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_metrics_port_in_use_is_exit_1(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = servebench(*SHORT, "--metrics-port", str(port), "--out", "r", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert str(port) in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_killed_worker_leaves_its_records_and_an_invalid_run(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*SERVEBENCH, "run", QUICK, "--duration", "8", "--processes", "2", "--json", "--out", "r"],
        cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    parts = [tmp_path / "r" / "parts" / f"requests.{shard}.jsonl" for shard in (0, 1)]
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not all(path.exists() and path.stat().st_size for path in parts):
        time.sleep(0.1)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    workers = [int(pid) for pid in children if b"locust" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert len(workers) == 2
    os.kill(max(workers), signal.SIGKILL)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 5, stderr
    assert "is lost" in stderr
    assert "has left" not in stderr, "the other one went when all was handed in"
    facts = manifest(tmp_path / "r")
    (lost,) = facts["missing_workers"]
    rows = records(tmp_path / "r")
    shards = {row["id"] % 2 for row in rows}
    assert shards == {0, 1}, "what the lost worker had written stands"
    survivors = [row["id"] for row in rows if row["id"] % 2 != lost]
    assert survivors == list(range(1 - lost, facts["planned_requests"], 2))
    assert any("lost" in reason for reason in json.loads(stdout)["invalid_reasons"])


@pytest.mark.slow
def test_workers_elsewhere_ship_their_records(tmp_path: Path) -> None:
    """Workers with another working directory don't see the run directory, as on another host."""
    port = str(free_port())
    workers = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        command = [*SERVEBENCH, "run", "--worker", "--master-port", port]
        workers.append(
            subprocess.Popen(
                command, cwd=tmp_path / name, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL
            )
        )
    done = servebench(
        *SHORT, "--master", "--expect-workers", "2", "--master-port", port, "--out", "r", cwd=tmp_path
    )
    for worker in workers:
        _, said = worker.communicate(timeout=20)
        assert worker.returncode == 0, said
    assert done.returncode in (0, 5), done.stderr
    facts = manifest(tmp_path / "r")
    assert [row["id"] for row in records(tmp_path / "r")] == list(range(facts["planned_requests"]))
    assert facts["missing_workers"] == []
    assert not list((tmp_path / "one").iterdir()), "a worker leaves nothing behind"
