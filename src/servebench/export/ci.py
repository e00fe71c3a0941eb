"""A run's verdict for CI: JUnit XML (a test case a gate) and Markdown for a job's summary page."""

import re
import xml.etree.ElementTree as ElementTree

from servebench.export import figures
from servebench.results.class_summary import ClassSummary
from servebench.results.gate import GateResult, Verdict
from servebench.results.percentiles import Distribution
from servebench.results.summary import Summary

MAX_MARKDOWN_BYTES = 1_000_000  # GitHub drops a step summary over 1 MiB
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SHOWN = ("ttft", "tpot", "itl", "e2e")


def junit_xml(summary: Summary) -> str:
    """One suite: a case that errs when the run is INVALID, and one for each gate.

    FAIL = failure, INCONCLUSIVE = skipped. In an INVALID run no gate means anything: each is an error.
    """
    scenario = str(summary.run.get("scenario") or "run")
    suite = ElementTree.Element("testsuite", name=_xml(f"servebench {scenario}"))
    run_case = _case(suite, scenario, "the run is valid")
    invalid = "; ".join(summary.invalid_reasons)
    if not summary.valid:
        _child(run_case, "error", f"INVALID: {invalid}")
    for result in summary.gates:
        case = _case(suite, scenario, result.slo.text)
        message = f"{figures.measured_name(result.slo)} {figures.gate_value(result)}; {result.reason}"
        if not summary.valid:
            _child(case, "error", f"INVALID run ({invalid}); {message}")
        elif result.verdict is Verdict.FAIL:
            _child(case, "failure", message)
        elif result.verdict is Verdict.INCONCLUSIVE:
            _child(case, "skipped", f"INCONCLUSIVE: {message}")
        else:
            ElementTree.SubElement(case, "system-out").text = _xml(message)
    kinds = {"failures": "failure", "errors": "error", "skipped": "skipped"}
    suite.set("tests", str(len(suite)))
    for attribute, tag in kinds.items():
        suite.set(attribute, str(len(suite.findall(f"testcase/{tag}"))))
    duration_s = summary.run.get("duration_s")
    suite.set("time", f"{float(duration_s):.3f}" if duration_s is not None else "0")
    suites = ElementTree.Element("testsuites", dict(suite.items()))
    suites.append(suite)
    ElementTree.indent(suites)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(suites, encoding="unicode") + "\n"
    )


def markdown(summary: Summary) -> str:
    """For $GITHUB_STEP_SUMMARY: the verdict, the gates, a table of the classes; under its size limit."""
    lines = [f"## servebench: {_md(summary.run.get('scenario') or 'run')}", "", _headline(summary), ""]
    lines += [f"- {_md(reason)}" for reason in summary.invalid_reasons]
    if summary.gates:
        lines += ["", "| verdict | objective | measured | counted |", "|---|---|---|---|"]
        lines += [_gate_row(result) for result in summary.gates]
    headings = ["class", "offered", "failed", "offered/s", "done/s", "good", "out tok/s"]
    headings += [f"{figures.LATENCIES[metric]} p50 / p95 / p99 (n)" for metric in _SHOWN]
    headings += ["cost", "$/Mtok"]
    lines += ["", _row(headings), "|---" + "|---:" * (len(headings) - 1) + "|"]
    lines += [_class_row(name, one) for name, one in summary.classes.items()]
    lines += ["", *(f"- note: {_md(warning)}" for warning in summary.warnings)]
    return _within_limit(lines)


def _class_row(name: str, one: ClassSummary) -> str:
    cells = [
        _md(name),
        figures.count(one.offered),
        figures.count(one.failed),
        figures.rate(one.offered_rps),
        figures.rate(one.completed_rps),
        figures.share(one.attainment),
        figures.rate(one.output_tokens_per_s),
    ]
    cells += [_percentiles(one.latency_s[metric]) for metric in _SHOWN]
    cells += [_md(figures.dollars(one.cost.usd)), _md(figures.dollars(one.usd_per_million_tokens))]
    return _row(cells)


def _headline(summary: Summary) -> str:
    parts = ["**VALID**" if summary.valid else "**INVALID**"]
    if summary.verdict is not None:
        parts.append(f"verdict **{summary.verdict.value}**")
    if summary.interrupted:
        parts.append("interrupted")
    if summary.stopped_by_budget:
        parts.append("stopped by its budget")
    parts += [_md(summary.run[key]) for key in ("model", "run_id") if summary.run.get(key)]
    return ", ".join(parts)


def _gate_row(result: GateResult) -> str:
    measured = f"{figures.measured_name(result.slo)} {figures.gate_value(result)}"
    return _row([f"**{result.verdict.value}**", _md(result.slo.text), _md(measured), _md(result.reason)])


def _percentiles(values: Distribution) -> str:
    three = " / ".join(_md(figures.percentile(values, name)) for name, _ in figures.QUANTILES)
    return f"{three} ({figures.count(values.n)})"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _md(value: object) -> str:
    """Text that Markdown shows as it is, in a table cell too."""
    one_line = " ".join(str(value).split())
    escaped = re.sub(r"([\\`*_\[\]|$~#])", r"\\\1", one_line)
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _within_limit(lines: list[str]) -> str:
    size, kept = 0, []
    for line in lines:
        size += len(line.encode()) + 1
        if size > MAX_MARKDOWN_BYTES:
            kept.append("(cut: too long for a step summary; the rest is in report.html)")
            break
        kept.append(line)
    return "\n".join(kept) + "\n"


def _case(suite: ElementTree.Element, scenario: str, name: str) -> ElementTree.Element:
    attributes = {"classname": _xml(f"servebench.{scenario}"), "name": _xml(name), "time": "0"}
    return ElementTree.SubElement(suite, "testcase", attributes)


def _child(case: ElementTree.Element, tag: str, message: str) -> None:
    ElementTree.SubElement(case, tag, message=_xml(message)).text = _xml(message)


def _xml(text: str) -> str:
    """Without the characters that XML 1.0 can't hold; ElementTree escapes the rest."""
    return _NOT_XML.sub("\ufffd", text)
