"""The path of a real API, against the mock behind a local authority: TLS verified, connections warmed, prices
refreshed, and a planted key that must be nowhere but on the wire.
"""

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from servebench.drive.launch import free_port
from tests.certificates import make_certificates, needs_openssl
from tests.mock_server.server_process import mock_process

pytestmark = needs_openssl
QUICK = str(Path(__file__).parent / "quick.yaml")
KEY = "planted-key-4f1d77b0c2aa49e6"
OTHER_KEY = "xai-planted9Zq8W7v6U5t4S3r2Q1p0O"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificates(tmp_path_factory.mktemp("tls"))


def tls_flags(folder: Path) -> tuple[str, ...]:
    return (
        "--tier", "grok-4.3", "--key", KEY,
        "--tls-cert", str(folder / "server.pem"), "--tls-key", str(folder / "server.key"),
    )  # fmt: skip


def run(
    tmp_path: Path, *arguments: str, key: str = KEY, timeout_s: float = 90
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "servebench", "run", QUICK, *arguments],
        cwd=tmp_path, capture_output=True, text=True, timeout=timeout_s, check=False,
        stdin=subprocess.DEVNULL, env={**os.environ, "SERVEBENCH_API_KEY": key, "XAI_API_KEY": OTHER_KEY},
    )  # fmt: skip


def family(pid: int) -> list[int]:
    """The process and all below it."""
    found = [pid]
    for parent in found:
        try:
            text = Path(f"/proc/{parent}/task/{parent}/children").read_text()
        except OSError:
            continue
        found += [int(child) for child in text.split()]
    return found


def read_proc(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


@pytest.mark.slow
def test_a_planted_key_is_on_the_wire_and_nowhere_else(tmp_path: Path, folder: Path) -> None:
    """In no file of the run, no output, no command line, no metric, nor where no process needs it."""
    port = free_port()
    with mock_process(*tls_flags(folder)) as (url, _):
        process = subprocess.Popen(
            [
                sys.executable, "-m", "servebench", "run", QUICK, "--target", url, "--ca-file",
                str(folder / "ca.pem"), "--model", "grok-4.3", "--metrics-port", str(port), "--out", "r",
                "--junit", "gate.xml", "--markdown", "page.md", "--slo", "ttft p50 < 1ms", "--yes",
                "--warm-connections", "4", "--refresh-prices", "--max-cost", "5", "--retries", "1",
            ],
            cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL,
            env={**os.environ, "SERVEBENCH_API_KEY": KEY, "XAI_API_KEY": OTHER_KEY},
        )  # fmt: skip
        command_lines, collectors, metrics = b"", [], b""
        while process.poll() is None:
            for pid in family(process.pid):
                line = read_proc(pid, "cmdline")
                command_lines += line
                if b"servebench.export.collector" in line:
                    collectors.append(read_proc(pid, "environ"))
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=2) as response:
                    metrics += response.read()
            except OSError:
                pass
            time.sleep(0.1)
        stdout, stderr = process.communicate()
    assert process.returncode in (3, 5), stderr
    assert collectors
    assert b"servebench_requests_total" in metrics
    seen = {
        "stdout": stdout.encode(),
        "stderr": stderr.encode(),
        "cmdline": command_lines,
        "metrics": metrics,
    }
    seen["environ of the collector"] = b"".join(collectors)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            seen[str(path)] = path.read_bytes()
    assert any(name.endswith("report.html") for name in seen)
    for key in (KEY, OTHER_KEY):
        assert [name for name, content in seen.items() if key.encode() in content] == []
    records = [json.loads(line) for line in (tmp_path / "r" / "requests.jsonl").read_text().splitlines()]
    assert {record["status"] for record in records} == {200}, "the mock takes the planted key only"
    manifest = json.loads((tmp_path / "r" / "manifest.json").read_text())
    assert [shard["warmed"]["opened"] for shard in manifest["shards"].values()] == [4]
    assert manifest["shards"]["0"]["warmed"]["tls_s"][0] > 0
    assert any("catalog's prices" in note for note in manifest["notes"])
    assert all(record["cost_source"] == "billed" for record in records)


@pytest.mark.slow
def test_errors_carry_no_key(tmp_path: Path, folder: Path) -> None:
    with mock_process(*tls_flags(folder)) as (url, _):
        unknown = run(tmp_path, "--target", url, "--model", "grok-4.3")
        assert unknown.returncode == 1
        assert "TLS failed" in unknown.stderr
        assert "--ca-file" in unknown.stderr
        wrong = run(tmp_path, "--target", url, "--ca-file", str(folder / "ca.pem"), key="wrong-key-31415926")
        assert wrong.returncode == 2
        assert "refused the key" in wrong.stderr
        assert "SERVEBENCH_API_KEY" in wrong.stderr
        for said in (unknown, wrong):
            assert "Traceback" not in said.stderr
            assert not any(key in said.stderr + said.stdout for key in (KEY, OTHER_KEY, "31415926"))


def test_a_target_that_costs_money_wants_a_yes(tmp_path: Path) -> None:
    """Nobody can be asked here; the target is never reached, as the list of models is asked first."""
    done = run(tmp_path, "--target", f"http://127.0.0.1:{free_port()}", "--max-cost", "nothing")
    assert done.returncode == 2
    assert "--max-cost" in done.stderr
    for amount in ("0", "-1", "nan", "1e-11"):
        refused = run(tmp_path, "--max-cost", amount)
        assert (refused.returncode, "budget" in refused.stderr) == (2, True), amount
