"""Whole runs with a budget, on a mock that fails on purpose: what is spent, what stays reserved, the end."""

import json
import os
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.drive.mock_journal import assert_bills_agree, journal, own_ticks, ticks
from tests.mock_server.server_process import running_mock

QUICK = str(Path(__file__).parent / "quick.yaml")
COMMAND = [sys.executable, "-m", "servebench", "run", QUICK, "--model", "grok-4.3", "--quiet", "--json"]


def run(cwd: Path, *arguments: str, timeout_s: float = 90) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*COMMAND, "--out", "r", *arguments],
        cwd=cwd, capture_output=True, text=True, timeout=timeout_s, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def read(cwd: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    manifest = json.loads((cwd / "r" / "manifest.json").read_text())
    return manifest, [json.loads(line) for line in (cwd / "r" / "requests.jsonl").read_text().splitlines()]


def faults(place: Path, *rules: str) -> str:
    path = place / "faults.yaml"
    path.write_text("seed: 3\nfaults:\n" + "".join(f"  - {{{rule}}}\n" for rule in rules))
    return str(path)


@pytest.mark.slow
def test_bills_that_arrive_agree_and_the_rest_is_what_the_journal_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cut, without usage, or with a wrong one: exactly those of the journal, the difference printed."""
    rules = ("kind: cut, rate: 0.2, after_events: 2", "kind: no_usage, rate: 0.2")
    wrong = "kind: wrong_usage, rate: 0.3, factor: 3"
    flags = ("--tier", "grok-4.3", "--time-scale", "20", "--faults", faults(tmp_path, *rules, wrong))
    with running_mock(*flags) as url:
        done = run(tmp_path, "--target", url, "--processes", "1", "--grace", "5")
        entries = journal(url)
    assert done.returncode in (0, 5), done.stderr
    _, rows = read(tmp_path)
    kinds = {row["id"]: set(entries[row["request_id"]]["faults"]) for row in rows}
    estimated = {row["id"] for row in rows if row["cost_source"] == "estimated"}
    assert estimated == {id for id, found in kinds.items() if found & {"cut", "no_usage"}}
    wrongly = {id for id, found in kinds.items() if found == {"wrong_usage"}}
    intact = [row for row in rows if not kinds[row["id"]]]
    assert len(intact) > 5
    assert estimated
    assert wrongly
    assert_bills_agree(intact, entries)
    # a wrong usage is told from the server's own bill, which stands
    for row in rows:
        if row["id"] in wrongly:
            billed = entries[row["request_id"]]["billed_ticks"]
            assert ticks(row["cost_usd"]) == billed != own_ticks(row)
    whole = json.loads(done.stdout)["classes"]["all"]
    assert whole["bill_check"]["differing"] == len(wrongly)
    assert whole["bill_check"]["checked"] == len(rows) - len(estimated)
    ours = sum(ticks(row["cost_usd"]) for row in rows if row["id"] in estimated)
    theirs = sum(entries[row["request_id"]]["billed_ticks"] for row in rows if row["id"] in estimated)
    with capsys.disabled():
        print(f"\n{len(estimated)} of {len(rows)} estimated: ${ours / 1e10:.6f}; billed ${theirs / 1e10:.6f}")
    sums = [Decimal(text) for text in whole["cost_by_source_usd"].values()]
    assert sum(sums) == Decimal(whole["cost_usd"])


@pytest.mark.slow
def test_a_run_ends_clean_when_its_budget_does(tmp_path: Path) -> None:
    """Some streams are cut: their bounds stay reserved. Spent and reserved stay within the budget."""
    rule = faults(tmp_path, "kind: cut, rate: 0.15, after_events: 2")
    with running_mock("--tier", "grok-4.3", "--time-scale", "20", "--faults", rule) as url:
        done = run(
            tmp_path, "--target", url, "--processes", "2", "--max-cost", "0.05", "--duration", "20",
            "--max-reasoning-tokens", "1000", "--grace", "3",
        )  # fmt: skip
    assert done.returncode == 6, done.stderr
    manifest, rows = read(tmp_path)
    budget = manifest["budget"]
    assert manifest["stopped_by_budget"] is True
    assert manifest["interrupted"] is False
    kept = sum(row["cost_source"] == "estimated" and row["sent_s"] is not None for row in rows)
    assert budget["kept_requests"] == kept > 0
    assert budget["broken"] == 0
    assert Decimal(budget["spent_usd"]) + Decimal(budget["reserved_usd"]) <= Decimal("0.05")
    billed = sum(ticks(row["cost_usd"]) for row in rows if row["cost_source"] == "billed")
    assert billed == ticks(budget["spent_usd"]) > 0
    assert {row["id"] for row in rows} == set(range(len(rows))), "no record is missing"
    summary = json.loads(done.stdout)
    assert summary["budget"] == budget
    assert not any("refused" in reason or "never sent" in reason for reason in summary["invalid_reasons"])
    assert "stopped by its budget" in (tmp_path / "r" / "report.html").read_text()


@pytest.mark.slow
def test_a_killed_workers_lease_stays_reserved(tmp_path: Path) -> None:
    with running_mock("--tier", "grok-4.3", "--time-scale", "20") as url:
        process = subprocess.Popen(
            [*COMMAND, "--out", "r", "--target", url, "--processes", "2", "--max-cost", "1",
             "--duration", "6"],
            cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        parts = [tmp_path / "r" / "parts" / f"requests.{shard}.jsonl" for shard in (0, 1)]
        deadline = time.monotonic() + 40
        while time.monotonic() < deadline and not all(
            path.exists() and path.stat().st_size for path in parts
        ):
            time.sleep(0.05)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        workers = [int(pid) for pid in children if b"locust" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        os.kill(max(workers), signal.SIGKILL)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 5, stderr
    manifest, rows = read(tmp_path)
    (lost,) = manifest["missing_workers"]
    budget = manifest["budget"]
    spent, reserved = Decimal(budget["spent_usd"]), Decimal(budget["reserved_usd"])
    assert reserved > Decimal("0.2"), "a quarter of the budget was leased to each worker"
    assert spent + reserved <= 1
    living = sum(ticks(row["cost_usd"]) for row in rows if row["id"] % 2 != lost)
    assert ticks(budget["spent_usd"]) >= living > 0


@pytest.mark.slow
def test_out_of_credits_ends_the_run_at_once(tmp_path: Path) -> None:
    text = "Your team x has either used all available credits or reached its monthly spending limit."
    rule = faults(tmp_path, f"kind: status, status: 403, code: permission-denied, error: '{text}', from_s: 6")
    with running_mock("--tier", "grok-4.3", "--time-scale", "20", "--faults", rule) as url:
        done = run(tmp_path, "--target", url, "--processes", "2", "--duration", "30", "--retries", "3")
    assert done.returncode == 6, done.stderr
    manifest, rows = read(tmp_path)
    assert manifest["stop_reason"] == "the account is out of credits"
    assert manifest["elapsed_s"] < 25
    refused = [row for row in rows if row["status"] == 403]
    assert 1 <= len(refused) < manifest["planned_requests"] / 2
    assert all(row["attempts"] == 1 for row in refused), "no use trying again"
    assert manifest["stopped_s"] <= min(row["intended_s"] for row in refused) + 1e-6


@pytest.mark.slow
def test_limits_are_respected_and_refused_requests_come_back(tmp_path: Path) -> None:
    """20 a second at a target that takes 8: paused by Retry-After, none is lost, waits stand apart."""
    with running_mock("--tier", "grok-4.3", "--time-scale", "50", "--faults", _limit(tmp_path)) as url:
        done = run(
            tmp_path,
            "--target",
            url,
            "--processes",
            "1",
            "--retries",
            "8",
            "--duration",
            "2",
            "--grace",
            "40",
        )
    assert done.returncode in (0, 5), done.stderr
    _, rows = read(tmp_path)
    assert {row["outcome"] for row in rows} == {"success"}
    again = [row for row in rows if row["attempts"] > 1]
    assert again
    summary = json.loads(done.stdout)
    assert summary["network"]["retries"] == {"http_429": sum(row["attempts"] - 1 for row in rows)}
    waited_s = sum(row["throttled_s"] for row in rows)
    assert summary["network"]["throttled_s"]["http_429"] == pytest.approx(waited_s, rel=1e-6)
    assert waited_s > 1
    served = max(row["end_s"] - row["intended_s"] - row["throttled_s"] for row in again)
    assert served < max(row["end_s"] - row["intended_s"] for row in again)


def _limit(place: Path) -> str:
    path = place / "limits.yaml"
    path.write_text("limits: {requests_per_s: 8, tokens_per_min: 100000000}\n")
    return str(path)
