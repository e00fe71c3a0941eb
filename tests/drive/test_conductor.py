"""The conductor's clock."""

import time
from pathlib import Path

import pytest

from servebench.drive.conductor import Conductor
from servebench.drive.options import build_plan, in_own_directory
from servebench.drive.settings import RunSettings
from servebench.results.run_directory import write_manifest
from servebench.workload.scenario import load_scenario


def settings(run_dir: Path) -> RunSettings:
    plan = build_plan(load_scenario("chat"), model=None, seed=1, users=1, duration_s=10.0)
    return RunSettings(
        plan=plan, target_url="http://127.0.0.1:1", target_kind="mock", run_dir=str(run_dir),
        run_id=run_dir.name, metrics_port=None, quiet=True,
    )  # fmt: skip


@pytest.mark.parametrize("by_s", [-3600.0, 3600.0])
def test_a_wall_clock_that_is_set_in_the_run_moves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_s: float
) -> None:
    conductor = Conductor(settings(tmp_path), interactive=False)
    conductor.set_start(time.time_ns() - 9_970_000_000)
    real_ns = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real_ns() + round(by_s * 1e9))
    assert conductor.elapsed_s() == pytest.approx(9.97, abs=0.5)
    conductor.stop_arrivals()
    assert conductor.stopped_s == pytest.approx(9.97, abs=0.5)


def test_a_directory_that_holds_a_run_is_not_written_over(tmp_path: Path) -> None:
    first = settings(tmp_path / "r")
    assert in_own_directory(first) == first
    write_manifest(tmp_path / "r", {})
    second = in_own_directory(first)
    assert (Path(second.run_dir), second.run_id) == (tmp_path / "r-2", "r-2")
    write_manifest(tmp_path / "r-2", {})
    assert in_own_directory(first).run_id == "r-3"
