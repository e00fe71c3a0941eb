"""benchmarks/engine_validation.py: the goals on a sample of the measured points, and what it does with other
files."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.data_dir import ROOT, find_data

GOOD = {
    "backend": "vllm",
    "model_path": "MiniMaxAI/MiniMax-M2.5",
    "system": "b200_sxm",
    "precision": "fp8",
    "isl": "1024",
    "osl": "1024",
    "concurrency": "16",
    "gpus": "4",
    "tp_size": "4",
    "pp_size": "1",
    "attention_dp_size": "1",
    "moe_ep_size": "",
    "silicon_ttft_ms": "95.5",
    "silicon_tpot_ms": "9.1",
}


def validated(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "engine_validation.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def report(*arguments: str) -> dict[str, Any]:
    done = validated(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def table(path: Path, rows: list[dict[str, str]]) -> str:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def test_a_sample_of_the_measured_points_meets_the_goals_with_a_margin() -> None:
    found = report(str(find_data("silicon", "measured_points.csv")), "--every", "8")
    assert found["points"] == 176
    assert found["all"]["tpot"]["median_abs_error"] < 0.14
    assert found["all"]["tpot"]["p90_abs_error"] < 0.45
    assert found["all"]["ttft"]["median_abs_error"] < 0.35
    assert found["held_out"]["tpot"]["median_abs_error"] < 0.18
    assert found["held_out"]["ttft"]["median_abs_error"] < 0.45
    assert abs(found["deepseek_day"]["error"]) < 0.2
    assert {"deepseek-v3", "llama-3.1-70b"} <= set(found["by_model"])
    assert sum(group["tpot"]["n"] for group in found["by_batch"].values()) == 176
    assert len(found["constants"]["values"]) <= 20


def test_other_files_of_the_columns_are_read_and_what_is_left_out_is_said(tmp_path: Path) -> None:
    bad: list[dict[str, str]] = [
        {"model_path": "acme/secret-9"},
        {"system": "mi300x"},
        {"backend": "llamacpp"},
        {"gpus": "8"},
        {"isl": "many"},
        {"osl": "1"},
        {"concurrency": "2.5"},
        {"silicon_tpot_ms": "0"},
        {"silicon_ttft_ms": "nan"},
    ]
    rows = [GOOD, {**GOOD, "concurrency": "64.0", "silicon_tpot_ms": "14.5"}]
    path = table(tmp_path / "mine.csv", rows + [{**GOOD, **change} for change in bad])
    found = report(path)
    assert found["points"] == 2
    assert sum(found["left_out"].values()) == len(bad)
    told = " ".join(found["left_out"])
    for words in (
        "unknown model 'acme/secret-9'",
        "unknown GPU 'mi300x'",
        "unknown backend 'llamacpp'",
        "gpus is not tp_size x pp_size x attention_dp_size",
        "isl is no number: 'many'",
        "osl must be a whole number from 2, not 1",
        "concurrency must be a whole number from 1, not 2.5",
        "must be positive",
        "silicon_ttft_ms is no number: 'nan'",
    ):
        assert words in told
    page = validated(path, "--markdown").stdout
    assert "- 1 rows left out: unknown model 'acme/secret-9'" in page
    assert "| minimax-m2.5 | 2 |" in page


def test_files_that_cannot_be_used_are_named_all_at_once(tmp_path: Path) -> None:
    narrow = table(tmp_path / "narrow.csv", [{"isl": "1", "osl": "2"}])
    (tmp_path / "empty.csv").write_text("")
    done = validated(narrow, str(tmp_path / "empty.csv"), str(tmp_path / "none.csv"))
    assert done.returncode == 2
    assert "lacks the columns model_path, system, backend" in done.stderr
    assert "empty.csv has no rows" in done.stderr
    assert "none.csv cannot be read" in done.stderr
    assert "Traceback" not in done.stderr
    useless = table(tmp_path / "useless.csv", [{**GOOD, "model_path": "acme/secret-9"}])
    done = validated(useless)
    assert done.returncode == 2
    assert "no row can be used: unknown model 'acme/secret-9' (1 rows)" in done.stderr


@pytest.mark.parametrize("flag", ["0", "-3", "x"])
def test_a_bad_sample_is_a_usage_error(flag: str) -> None:
    done = validated("--every", flag)
    assert done.returncode == 2
    assert "--every" in done.stderr


def test_the_method_page_repeats_the_written_table_to_the_digit() -> None:
    written = (ROOT / "docs" / "ENGINE_VALIDATION.md").read_text().splitlines()
    method = (ROOT / "docs" / "METHOD.md").read_text().splitlines()
    summary = written[written.index("## Summary") : written.index("## Other checks")]
    rows = [line for line in written if line.startswith("- model ")]
    rows += [line for line in summary if line.startswith("| T")]
    assert len(rows) > 5
    assert set(rows) <= set(method)
