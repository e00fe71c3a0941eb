"""The benchmark, small: the meter against a server that stamps what it sends."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the reference server uses epoll")
BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "meter_accuracy.py"


def test_the_accuracy_benchmark_runs_and_the_instrument_is_exact() -> None:
    options = ["--streams", "20,40", "--seconds", "0.4", "--tokens", "15", "--runs", "1", "--json"]
    done = subprocess.run(
        [sys.executable, str(BENCHMARK), *options], capture_output=True, text=True, timeout=60, check=True
    )
    rows = json.loads(done.stdout)["streams"]
    assert list(rows) == ["20", "40"]
    for row in rows.values():
        assert row["requests"] >= 20
        assert row["failed"] == 0
        assert row["missing_stamps"] == 0
        # of a machine that others use as well: what a client that reads late would have, is out of reach
        assert 0 < row["chunk_error_us"]["p50"] < 5_000
        assert row["itl_error_us"]["p50"] < 5_000
        assert row["core_s_per_million_chunks"] > 0
