"""The matrix end to end: runs side by side, one table, one page; and it goes on where it was cut."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from servebench.cli import cli
from servebench.drive.matrix import read_matrix, run_matrix
from servebench.drive.start import RunRequest, tier_ids, tiers_of
from servebench.errors import UsageError

QUICK = str(Path(__file__).parent / "quick.yaml")
TIERS = "grok-4.3,grok-5-max"


def run(*arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "servebench", "run", *arguments],
        cwd=cwd, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_a_matrix_is_one_table_and_one_page_and_goes_on_where_it_was_cut(tmp_path: Path) -> None:
    command = (QUICK, "--tiers", TIERS, "--duration", "1", "--processes", "0", "--out", "m")
    done = run(*command, "--markdown", "m.md", cwd=tmp_path)
    assert done.returncode in (0, 5), done.stderr
    assert "tier 2 of 2: grok-5-max" in done.stderr
    for words in ("Grok 4.3", "Grok 5 Max *", "tokens/s a user", "every tier got the same requests"):
        assert words in done.stdout
    assert "Grok 5 Max" in (tmp_path / "m.md").read_text()
    page = (tmp_path / "m" / "matrix.html").read_text()
    assert '<a href="grok-5-max/report.html">' in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    whole = json.loads((tmp_path / "m" / "matrix.json").read_text())
    assert whole["complete"]
    assert whole["same_workload"]
    assert [tier["model"] for tier in whole["tiers"]] == TIERS.split(",")
    ids = [_sent(tmp_path / "m" / model) for model in TIERS.split(",")]
    assert ids[0] == ids[1], "the same requests at the same times"
    first = (tmp_path / "m" / "grok-4.3" / "summary.json").stat().st_mtime_ns

    # as if it had been cut in the second run
    (tmp_path / "m" / "grok-5-max" / "summary.json").unlink()
    done = run(*command, "--json", cwd=tmp_path)
    assert done.returncode in (0, 5), done.stderr
    assert "grok-4.3 is there already" in done.stderr
    assert json.loads(done.stdout)["complete"]
    assert (tmp_path / "m" / "grok-4.3" / "summary.json").stat().st_mtime_ns == first
    assert (tmp_path / "m" / "grok-5-max" / "report.html").exists()
    assert (tmp_path / "m" / "grok-5-max.cut-1" / "requests.jsonl").exists(), "what a cut run left is kept"
    again = CliRunner().invoke(cli, ["report", str(tmp_path / "m"), "--json"])
    assert again.exit_code == done.returncode
    assert json.loads(again.output) == json.loads(done.stdout)
    done = run(*command, "--seed", "9", cwd=tmp_path)
    assert done.returncode == 2
    assert "other settings" in done.stderr
    _assert_edits_are_told(tmp_path / "m")


def _assert_edits_are_told(out: Path) -> None:
    """Wrong types in matrix.json, and in the manifest of one of its runs: one sentence, exit 2."""

    def report() -> list[str]:
        with pytest.raises(UsageError) as told:
            read_matrix(out)
        return list(told.value.problems)

    path = out / "matrix.json"
    whole = json.loads(path.read_text())
    for value in (None, "x", -1, ["x"], {"x": 1}):
        for key in ("schema", "scenario", "seed", "target", "planned", "settings", "tiers"):
            if type(value) is type(whole[key]) and key != "tiers":
                continue
            path.write_text(json.dumps({**whole, key: value}))
            assert any(f"{path}: {key}" in line for line in report()), (key, value)
        for key in ("model", "run_dir", "exit_code", "workload_hash", "classes"):
            if type(value) is type(whole["tiers"][0][key]) and value != -1:
                continue
            path.write_text(json.dumps({**whole, "tiers": [{**whole["tiers"][0], key: value}]}))
            assert any(f"{path}: tiers.0.{key}: " in line for line in report()), (key, value)
    for text in ("", "{", "[]", "3"):
        path.write_text(text)
        assert str(path) in "".join(report())
    path.write_text(json.dumps(whole))
    manifest = out / whole["tiers"][0]["run_dir"] / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "warmup_s": "x"}))
    assert [line.partition(";")[0] for line in report()] == [
        f"{manifest}: warmup_s: input should be a valid number, not 'x'"
    ]


def _sent(run_dir: Path) -> list[tuple[Any, ...]]:
    rows = [json.loads(line) for line in (run_dir / "requests.jsonl").read_text().splitlines()]
    assert {row["model"] for row in rows} == {run_dir.name}
    return [(row["id"], row["intended_s"], row["prompt_tokens"], row["asked_output_tokens"]) for row in rows]


def test_which_tiers_a_matrix_has() -> None:
    assert len(tiers_of(RunRequest(scenario="tier_matrix"))) == 5
    assert tiers_of(RunRequest(scenario="tier_matrix", model="grok-4.3")) == ()
    assert tiers_of(RunRequest(scenario="chat")) == ()
    assert tier_ids("all")[0] == "grok-4.3"
    assert tier_ids(" a, b ,a") == ("a", "b")
    with pytest.raises(UsageError, match="give model ids"):
        tier_ids(" , ")


def test_what_can_not_be_a_matrix_is_told_before_anything_runs(tmp_path: Path) -> None:
    request = RunRequest(scenario=QUICK, out=str(tmp_path / "m"))
    with pytest.raises(UsageError, match="unknown tier 'grok-9'") as told:
        run_matrix(request, ("grok-4.3", "grok-9", "grok-8"))
    assert len(told.value.problems) == 2
    assert not (tmp_path / "m").exists()
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "x").touch()
    with pytest.raises(UsageError, match="something else than a matrix"):
        run_matrix(request, ("grok-4.3",))
    with pytest.raises(UsageError, match="--web is for one model"):
        run_matrix(RunRequest(scenario=QUICK, web=True), ("grok-4.3",))
