"""The matrix as a value: the worst exit code by the stated order, and texts that say what is missing."""

import dataclasses
from pathlib import Path

import pytest

from servebench.export.matrix_page import matrix_html
from servebench.export.matrix_rows import HEADINGS, TASK_HEADINGS, notes, rows, task_rows
from servebench.export.matrix_table import matrix_markdown, print_matrix
from servebench.meter.record import SessionState
from servebench.results.matrix import Matrix, MatrixRun, cached_share, interactivity, usd_per_thousand
from servebench.results.run_directory import read_run
from servebench.results.steady_state import Window
from servebench.results.summary import ALL, summarise_run
from servebench.results.tasks import summarise_tasks
from tests.results.made_run import make, write
from tests.results.test_tasks import session


def matrix(tmp_path: Path, *codes: int, planned: tuple[str, ...] = ("a", "b", "c")) -> Matrix:
    write(tmp_path / "r", make(400))
    summary = summarise_run(read_run(tmp_path / "r"))
    runs = tuple(
        MatrixRun(model, f"Tier <{model}>", "announced", "MODELLED", model, code, "h", summary)
        for model, code in zip(planned, codes, strict=False)
    )
    return Matrix("s", 1, "mock", planned, runs, {})


@pytest.mark.parametrize(
    ("codes", "worst"),
    [((0, 0, 0), 0), ((0, 4, 0), 4), ((3, 4, 0), 3), ((5, 3, 6), 6), ((130, 6, 1), 1), ((1, 2, 5), 2),
     ((0, 0), 130), ((0, 1), 1)],
)  # fmt: skip
def test_the_exit_code_is_the_worst(tmp_path: Path, codes: tuple[int, ...], worst: int) -> None:
    assert matrix(tmp_path, *codes).exit_code == worst


def test_figures_and_texts(tmp_path: Path) -> None:
    made = matrix(tmp_path, 0, 0)
    assert made.runs[0].summary is not None
    one = made.runs[0].summary.classes[ALL]
    tpot = one.latency_s["tpot"].p50
    assert tpot is not None
    assert interactivity(one) == pytest.approx(1 / tpot.value)
    assert cached_share(one) == pytest.approx(0.3)
    ticks = 700 * 12_500 + 300 * 2_000 + 20 * 25_000
    assert float(usd_per_thousand(one) or 0) == pytest.approx(ticks * 1000 / 1e10, rel=1e-6)
    shown = rows(made, ALL)
    assert [len(row) for row in shown] == [len(HEADINGS)] * 3
    assert shown[2][1] == "not yet run"
    assert any("still to run: c" in line for line in notes(made))
    page = matrix_html(made)
    assert "Tier &lt;a&gt;" in page
    assert "<a>" not in page
    assert "Speed against price" in page
    assert matrix_markdown(made).count("\n| Tier \\<a> \\*") == 1
    assert made.to_json()["complete"] is False


def test_agents_tasks_stand_side_by_side_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = matrix(tmp_path, 0, 0)
    assert task_rows(made) == []
    assert "tasks" not in matrix_html(made)
    records = [*session(0, 3, SessionState.DONE), *session(1, 2, SessionState.CUT)]
    tasks = summarise_tasks(records, Window(0, 10**10))
    first = made.runs[0]
    assert first.summary is not None
    with_tasks = dataclasses.replace(first, summary=dataclasses.replace(first.summary, tasks=tasks))
    made = dataclasses.replace(made, runs=(with_tasks, *made.runs[1:]))
    (row,) = task_rows(made)
    assert len(row) == len(TASK_HEADINGS)
    assert row[:5] == ("Tier <a> *", "agent", "1", "0", "1")
    assert row[-1] == "$0.0500"
    assert "Agents' tasks" in matrix_html(made)
    print_matrix(made, as_json=False)
    assert "$/finished task" in capsys.readouterr().out
    assert made.to_json()["tiers"][0]["tasks"]["agent"]["finished"] == 1
