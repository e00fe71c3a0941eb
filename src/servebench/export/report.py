"""report.html: one self-contained page of a finished run, worked out from its records.

It loads nothing (Content-Security-Policy: default-src 'none', its own style and script by hash), and its
figures stand in tables that can be read without the script, on paper too.
"""

from pathlib import Path

from servebench.export import report_health, report_tasks
from servebench.export import report_sections as sections
from servebench.export.html_page import figures_html, page_html
from servebench.export.report_charts import charts
from servebench.results.files import write_bytes
from servebench.results.run_directory import Run, read_run
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
    drawn = charts(run, summary)
    title = f"servebench: {summary.run.get('scenario') or 'run'}"
    body = [
        sections.header(summary),
        sections.tiles(summary),
        sections.gates(summary),
        sections.rates(summary),
        sections.latencies(summary),
        report_tasks.tasks(summary),
        figures_html("Over time", drawn),
        sections.outcomes(summary),
        sections.costs(summary),
        report_health.steadiness(summary),
        report_health.health(run, summary),
        sections.facts(run, summary),
    ]
    return page_html(title, body, drawn)
