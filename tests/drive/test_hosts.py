"""A run over several hosts: a master, two workers and the target, each in a network of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.drive.network import Host, hosts, why_not

pytestmark = pytest.mark.slow
QUICK = str(Path(__file__).parent / "quick.yaml")
PORT = "8000"


@pytest.fixture(scope="module")
def network() -> None:
    if reason := why_not():
        pytest.skip(reason)


def serving(host: Host) -> "subprocess.Popen[str]":
    """A mock there, once it listens."""
    mock = host.start(
        sys.executable, "-m", "mock_server", "--tier", "grok-4.3", "--host", "0.0.0.0", "--port", PORT,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert mock.stdout is not None
    line = mock.stdout.readline()
    assert line.startswith("listening"), mock.communicate()
    return mock


@pytest.mark.usefixtures("network")
def test_a_master_and_two_workers_on_hosts_of_their_own(tmp_path: Path) -> None:
    names = ("target", "master", "one", "two")
    with hosts(tmp_path, names) as on, serving(on["target"]) as mock:
        servebench = (sys.executable, "-m", "servebench", "run")
        master_at = on["master"].address
        workers = [
            on[name].start(*servebench, "--worker", "--master-host", master_at, stderr=subprocess.PIPE)
            for name in ("one", "two")
        ]
        run = on["master"].start(
            *servebench, QUICK, "--target", f"http://{on['target'].address}:{PORT}", "--master",
            "--expect-workers", "2", "--master-bind-host", master_at, "--seed", "7", "--json", "--quiet",
            "--yes", "--out", "r", stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            stdout, stderr = run.communicate(timeout=90)
            assert run.returncode in (0, 5), stderr  # a busy machine may be INVALID; nothing may be lost
            for worker in workers:
                _, said = worker.communicate(timeout=20)
                assert worker.returncode == 0, said
        finally:
            for process in (run, *workers, mock):
                process.kill()
                process.communicate()
        for name in ("one", "two"):
            assert not list((on[name].folder / "home").iterdir()), "a worker leaves nothing behind"
    run_dir = tmp_path / "master" / "home" / "r"
    facts = json.loads((run_dir / "manifest.json").read_text())
    rows = [json.loads(line) for line in (run_dir / "requests.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == list(range(facts["planned_requests"]))
    assert all(row["outcome"] == "success" for row in rows)
    assert (run_dir / "chunks.i32").stat().st_size == 4 * sum(row["chunks"] for row in rows)
    assert facts["missing_workers"] == []
    offsets = facts["clock_offsets_us"]
    assert sorted(offsets) == ["0", "1"]
    for offset in offsets.values():  # it is one machine's clock after all: the truth is 0
        assert 0 < offset["uncertainty"] < 1_000_000
        assert abs(offset["offset"]) <= offset["uncertainty"]
    assert json.loads(stdout)["classes"]["all"]["offered"] == len(rows) > 40
