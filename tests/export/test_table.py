"""The terminal's table: every class and figure, within 100 columns."""

from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from servebench.export import figures
from servebench.export.table import print_summary
from servebench.results.run_directory import read_run
from servebench.results.summary import Summary, summarise_run
from tests.results import made_run


@pytest.fixture
def summary(tmp_path: Path) -> Summary:
    classes = ("short-chat", "tool-call", "long-context-64k")
    made_run.write(tmp_path, made_run.make(1500, failed_share=0.02, classes=classes), slo=["ttft p99 < 2s"])
    return summarise_run(read_run(tmp_path))


def text_of(summary: Summary, width: int = 100) -> str:
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    print_summary(summary, console)
    console.file.close()
    return console.export_text()


def test_it_fits_100_columns_and_names_every_class(summary: Summary) -> None:
    text = text_of(summary)
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text
    for name in ("all", "short-chat", "tool-call", "long-context-64k"):
        assert text.count(f"\n{name}") + text.startswith(name) == 3
    for heading in ("offered/s", "achieved/s", "goodput/s", "p95", "$/Mtok", "failed", "tokens"):
        assert heading in text


def test_it_ends_with_validity_and_verdict(summary: Summary) -> None:
    text = text_of(summary)
    assert "\nVALID" in text
    assert "\nFAIL         ttft p99 < 2s" in text
    bad = replace(summary, valid=False, invalid_reasons=("first [bold]reason[/bold]", "second"))
    assert "INVALID: first [bold]reason[/bold]\n         second" in text_of(bad)


def test_an_interrupted_run_says_so(summary: Summary) -> None:
    assert "interrupted" not in text_of(summary)
    cut = replace(summary, interrupted=True, run={**summary.run, "planned_requests": 4_000})
    assert "interrupted: 1,500 of 4,000 planned requests were begun" in text_of(cut)


def test_too_few_samples_are_said_not_shown(tmp_path: Path) -> None:
    made_run.write(tmp_path, made_run.make(20))
    text = text_of(summarise_run(read_run(tmp_path)))
    assert "n<72" in text
    assert "n<368" in text


def test_figures_read_as_people_write_them() -> None:
    assert figures.duration(0.2054) == "205 ms"
    assert figures.duration(0.0000123) == "12.3 µs"
    assert figures.duration(12.34) == "12.3 s"
    assert figures.duration(float("inf")) == "+Inf"
    assert figures.duration(None) == figures.NOTHING
    assert figures.share(0.9999) == "99.99 %"
    assert figures.share(1.0) == "100.0 %"
    assert figures.share(0.00001) == "0.001 %"
    assert figures.dollars("0.00041215") == "$0.000412"
    assert figures.dollars("1234.567") == "$1,234.57"
    assert figures.dollars(None) == figures.NOTHING
    assert figures.rate(1234.5) == "1,234"
