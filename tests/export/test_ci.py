"""JUnit and Markdown say what the summary says, whatever the texts hold."""

import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from servebench.export.ci import MAX_MARKDOWN_BYTES, junit_xml, markdown
from servebench.results.parts import gather_parts
from servebench.results.run_directory import read_run
from servebench.results.summary import Summary, summarise_run
from tests.results import made_run

SLOS = ["ttft p99 < 2s", "ttft p95 < 10ms", "code: tpot p99 < 40ms"]  # PASS, FAIL, too few


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    made_run.write(tmp_path, made_run.make(500), slo=SLOS)
    gather_parts(tmp_path)
    return tmp_path


@pytest.fixture
def summary(run_dir: Path) -> Summary:
    return summarise_run(read_run(run_dir))


def test_a_case_for_each_gate(summary: Summary) -> None:
    root = ElementTree.fromstring(junit_xml(summary))
    cases = {case.get("name"): [child.tag for child in case] for case in root.iter("testcase")}
    assert cases == {
        "the run is valid": [],
        "ttft p99 < 2s": ["system-out"],
        "ttft p95 < 10ms": ["failure"],
        "code: tpot p99 < 40ms": ["skipped"],
    }
    suite = root.find("testsuite")
    assert suite is not None
    assert [suite.get(key) for key in ("tests", "failures", "errors", "skipped")] == ["4", "1", "0", "1"]


def test_an_invalid_run_errs_in_every_case(summary: Summary) -> None:
    invalid = replace(summary, valid=False, invalid_reasons=("requests left late",))
    root = ElementTree.fromstring(junit_xml(invalid))
    assert [[child.tag for child in case] for case in root.iter("testcase")] == [["error"]] * 4
    assert "requests left late" in (root.findtext("testsuite/testcase/error") or "")


def test_xml_takes_any_text(summary: Summary) -> None:
    odd = replace(summary, valid=False, invalid_reasons=('<a> & "b" \x00 \x1b ]]> \ud800 ü',))
    root = ElementTree.fromstring(junit_xml(odd).encode("utf-8"))
    assert '<a> & "b" \ufffd \ufffd ]]> \ufffd ü' in (root.findtext("testsuite/testcase/error") or "")


def test_markdown_has_verdict_gates_and_classes(summary: Summary) -> None:
    page = markdown(summary)
    assert "**VALID**, verdict **FAIL**" in page
    assert "| **FAIL** | ttft p95 &lt; 10ms |" in page
    rows = [line for line in page.splitlines() if line.startswith(("| all ", "| chat ", "| code "))]
    assert len(rows) == 3
    assert "n&lt;368" in rows[1]  # 250 requests have no p99
    table = [line for line in page.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in table[-5:]} == {table[-1].count("|")}


def test_markdown_escapes_and_keeps_its_limit(summary: Summary) -> None:
    nasty = replace(summary, invalid_reasons=("a | b <script> `c`\nd",), valid=False)
    assert r"- a \| b &lt;script&gt; \`c\` d" in markdown(nasty)
    long = replace(summary, invalid_reasons=tuple("x" * 1000 for _ in range(3000)), valid=False)
    assert len(markdown(long).encode()) <= MAX_MARKDOWN_BYTES + 100


def test_the_verb_writes_what_was_asked_and_ends_with_the_gates_code(run_dir: Path) -> None:
    from servebench.cli.report import command

    junit, page, metrics = run_dir / "out" / "junit.xml", run_dir / "page.md", run_dir / "m.om"
    arguments = [
        str(run_dir),
        "--html",
        "--junit",
        str(junit),
        "--markdown",
        str(page),
        "--openmetrics",
        str(metrics),
    ]
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 3
    assert "ttft p95 < 10ms" in done.output
    assert "VALID" in done.output
    assert ElementTree.parse(junit).getroot().tag == "testsuites"
    assert page.read_text().startswith("## servebench: made")
    assert metrics.read_text().endswith("# EOF\n")
    assert (run_dir / "report.html").exists()


def test_the_verb_judges_by_other_objectives_too(run_dir: Path) -> None:
    import json

    from servebench.cli.report import command

    metrics = run_dir / "others.om"
    asked = ["--slo", "ttft p99 < 2s", "--goodput", "ttft:150", "--openmetrics", str(metrics)]
    done = CliRunner().invoke(command, [str(run_dir), "--json", *asked])
    assert done.exit_code == 0
    assert 'slo="ttft p99 < 2s"' in metrics.read_text()
    assert "ttft p95 < 10ms" not in metrics.read_text()
    page = json.loads(done.output)
    assert [gate["verdict"] for gate in page["gates"]] == ["PASS"]
    assert 0 < page["classes"]["all"]["attainment"] < 1


@pytest.mark.parametrize("arguments", [["nowhere"], [".", "--slo", "x", "--slo", "y"]])
def test_bad_input_is_a_usage_error(
    run_dir: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from servebench.cli.report import command
    from servebench.errors import UsageError

    monkeypatch.chdir(run_dir)
    done = CliRunner().invoke(command, arguments)
    assert isinstance(done.exception, UsageError)
    assert done.exception.exit_code == 2
