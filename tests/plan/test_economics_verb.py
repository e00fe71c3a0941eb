"""servebench economics as a user sees it: one process, its table, its files, its sentences."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SMALL = """
name: small
load: {rate_rps: 4, duration_s: 10}
classes: [{name: quick, input_tokens: 24000, output_tokens: 60, reasoning_effort: none}]
"""
LIMITS = ("--slo", "ttft p90 < 4s")


def economics(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "servebench", "economics", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_table_files_and_progress(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    out = tmp_path / "out"
    tiers = ("--tier", "grok-4.3", "--tier", "grok-5-small")
    done = economics(str(path), *tiers, *LIMITS, "--demand", "2M tokens/s", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert "2/2" in done.stderr
    for word in ("Grok 5 Small", "break-even", "(MODELLED)", "Colossus 2", "GPT-5.5", "kWh/Mtok"):
        assert word in done.stdout
    answer = json.loads((out / "economics.json").read_text())
    assert [row["tier"] for row in answer["tiers"]] == ["grok-4.3", "grok-5-small"]
    assert (out / "economics.html").read_text().startswith("<!DOCTYPE html>")
    assert (out / "economics.md").read_text().startswith("# What serving costs: small")


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("chat", "--demand", "much"), 2, "is no load"),
        (("chat", "--tier", "gpt-9"), 2, "unknown tier 'gpt-9'"),
        (("nowhere",), 2, "no scenario 'nowhere'"),
        (("chat", "--slo", "tpot p90 < 0.1ms", "--tier", "grok-4.3"), 1, "no tier meets the SLO"),
        (("chat", "--slo", "fast"), 2, "fast"),
    ],
)
def test_bad_input_is_a_sentence(arguments: tuple[str, ...], code: int, sentence: str) -> None:
    done = economics(*arguments)
    assert done.returncode == code
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
