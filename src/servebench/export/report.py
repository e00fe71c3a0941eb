"""report.html: one self-contained page of a finished run, worked out from its records.

It loads nothing (Content-Security-Policy: default-src 'none', its own style and script by hash), and its
figures stand in tables that can be read without the script, on paper too.
"""

import base64
import hashlib
import json
from html import escape
from importlib.resources import files
from pathlib import Path

from servebench.export import report_sections as sections
from servebench.export import report_tasks
from servebench.export.report_charts import charts
from servebench.export.svg import Chart, readout, svg
from servebench.results.run_directory import Run, read_run, write_bytes
from servebench.results.summary import Summary, summarise_run

FILE = "report.html"


def write_report(run_dir: Path) -> Path:
    """Write report.html into a run directory. Raises UsageError or OperationError."""
    run = read_run(run_dir)
    target = Path(run_dir) / FILE
    write_bytes(target, report_html(run, summarise_run(run)).encode())
    return target


def report_html(run: Run, summary: Summary) -> str:
    """The page. run and summary must belong together."""
    style, script = _asset("report.css"), _asset("report.js")
    drawn = charts(run, summary)
    series = _json({chart.key: readout(chart) for chart in drawn})
    title = f"servebench: {summary.run.get('scenario') or 'run'}"
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    body = [
        sections.header(summary),
        sections.tiles(summary),
        sections.gates(summary),
        sections.rates(summary),
        sections.latencies(summary),
        report_tasks.tasks(summary),
        _charts(drawn),
        sections.outcomes(summary),
        sections.costs(summary),
        sections.health(run, summary),
        sections.facts(run, summary),
    ]
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{escape(title)}</title>",
            f"<style>{style}</style></head><body>",
            *body,
            f'<script type="application/json" id="series">{series}</script>',
            '<p class="soft" id="self-check"></p>',
            f"<script>{script}</script>",
            "</body></html>\n",
        ]
    )


def _charts(drawn: list[Chart]) -> str:
    figures = []
    for chart in drawn:
        legend = "".join(
            f'<li><svg viewBox="0 0 12 6" aria-hidden="true"><rect class="s{line.colour % 6}" '
            f'width="12" height="6"/></svg>{escape(line.name)}</li>'
            for line in chart.lines
        )
        figures.append(
            f'<figure data-chart="{chart.key}"><h3>{escape(chart.title)}</h3>{svg(chart)}'
            f'<ul class="legend">{legend}</ul><figcaption>{escape(chart.caption)}</figcaption></figure>'
        )
    return f'<h2>Over time</h2><div class="charts">{"".join(figures)}</div>' if figures else ""


def _asset(name: str) -> str:
    return (files("servebench.export") / "page" / name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"


def _json(value: object) -> str:
    """JSON that can stand inside a script element: no "<" ends it."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
