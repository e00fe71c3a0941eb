"""`run --dry-run` tells what a run would send, and sends nothing."""

import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

SERVEBENCH = [sys.executable, "-m", "servebench", "run"]
QUICK = str(Path(__file__).parent / "quick.yaml")


def run(*arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if name != "XAI_API_KEY"}
    return subprocess.run(
        [*SERVEBENCH, *arguments], cwd=cwd, capture_output=True, text=True, timeout=60, check=False,
        env=environment,
    )  # fmt: skip


def test_it_prints_and_neither_writes_nor_asks_for_a_key(tmp_path: Path) -> None:
    done = run("mixed", "--target", "xai", "--dry-run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for words in ("nothing was sent", "prompt p50", "at most", "schedule hash", "tool-call", "arrivals/s"):
        assert words in done.stdout
    assert list(tmp_path.iterdir()) == []
    done = run("tier_matrix", "--dry-run", "--json", cwd=tmp_path)
    models = json.loads(done.stdout)["models"]
    assert [one["model"] for one in models][0::4] == ["grok-4.3", "grok-5-max"]
    # the texts name the model, the times and lengths don't
    assert len({one["schedule_hash"] for one in models}) == 5
    assert len({json.dumps(one["classes"]["all"]["prompt_tokens"]) for one in models}) == 1
    for flags in (("--rate", "-1"), ("--seed", "-1"), ("--seed", str(2**63))):
        assert run("mixed", "--dry-run", *flags, cwd=tmp_path).returncode == 2


@pytest.mark.slow
def test_the_run_that_follows_is_the_one_forecast(tmp_path: Path) -> None:
    forecast = json.loads(run(QUICK, "--seed", "7", "--dry-run", "--json", cwd=tmp_path).stdout)
    done = run(QUICK, "--seed", "7", "--processes", "0", "--quiet", "--json", "--out", "r", cwd=tmp_path)
    assert done.returncode in (0, 5), done.stderr
    summary = json.loads(done.stdout)
    assert summary["run"]["schedule_hash"] == forecast["schedule_hash"]
    told, came = forecast["classes"]["all"], summary["classes"]["all"]
    assert came["offered"] == told["requests"]
    assert came["tokens"]["input"] + came["tokens"]["cached_input"] == told["prompt_tokens"]["sum"]
    rows = [json.loads(line) for line in (tmp_path / "r" / "requests.jsonl").read_text().splitlines()]
    assert sum(row["request_bytes"] for row in rows) > told["body_bytes"]["sum"]
    assert Decimal(came["cost_usd"]) <= Decimal(told["worst_usd"])
