"""Progress: silent for what is quick, never silent for long, whole in another process."""

import pickle

import pytest

from servebench.cli.progress import QUIET_S, Progress


def test_a_line_now_and_then_where_lines_stay(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now_s = 100.0
    monkeypatch.setattr("servebench.cli.progress.monotonic", lambda: now_s)
    show = Progress(began_s=now_s)
    for second in range(35):
        now_s = 100.0 + second
        show(f"probe {second}")
    show.end()
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in lines] == [f"{QUIET_S * k:.0f}" for k in (1, 2, 3)]
    assert lines[0].endswith("s  probe 10")


def test_one_line_that_rewrites_itself_and_goes(capsys: pytest.CaptureFixture[str]) -> None:
    show = Progress(rewrites=True)
    show("first")
    show("second")
    show.end()
    show.end()
    shown = capsys.readouterr().err
    assert "\n" not in shown
    lines = [text.strip() for text in shown.replace("\033[K", "").split("\r")]  # no terminal: click strips it
    assert lines == ["", "0 s  first", "0 s  second", ""]


def test_it_goes_to_another_process_with_its_beginning() -> None:
    assert pickle.loads(pickle.dumps(Progress(began_s=5.0))).began_s == 5.0
