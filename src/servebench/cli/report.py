"""`servebench report RUN`: everything that is shown of a run, worked out again from its records."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from servebench.results.facts import Objectives


@click.command("report", short_help="HTML, Markdown, JUnit and OpenMetrics again, from a run directory.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--html", is_flag=True, help="Write RUN/report.html.")
@click.option(
    "--markdown", type=click.Path(path_type=Path), metavar="FILE", help="Write Markdown (- = stdout)."
)
@click.option("--junit", type=click.Path(path_type=Path), metavar="FILE", help="Write JUnit XML.")
@click.option(
    "--openmetrics", type=click.Path(path_type=Path), metavar="FILE", help="Write OpenMetrics text."
)
@click.option("--slo", multiple=True, metavar="SLO", help='Judge by these instead, as in "ttft p99 < 2s".')
@click.option(
    "--goodput", multiple=True, metavar="LIMIT", help='What a good request is, in ms: "ttft:500 tpot:50".'
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def command(
    run: Path,
    html: bool,
    markdown: Path | None,
    junit: Path | None,
    openmetrics: Path | None,
    slo: tuple[str, ...],
    goodput: tuple[str, ...],
    as_json: bool,
) -> None:
    """Work out the summary of RUN again from its records, and print it. Of a matrix: its table and page.

    The exit code is the one that the run had: 0 pass, 3 gate failed, 4 inconclusive, 5 INVALID,
    6 stopped by its budget, 130 interrupted.
    """
    from servebench.results.files import write_bytes
    from servebench.results.run_directory import read_run
    from servebench.results.summary import summarise_run

    if (run / "matrix.json").exists():
        from servebench.drive.matrix import read_matrix, show_matrix

        target = None if markdown is None else str(markdown)
        raise SystemExit(show_matrix(read_matrix(run), run, markdown=target, as_json=as_json))
    found = read_run(run)
    objectives = _objectives(slo, goodput, {record.class_name for record in found.records})
    summary = summarise_run(found, objectives=objectives)
    if html:
        from servebench.export.report import report_html

        write_bytes(run / "report.html", report_html(found, summary).encode())
    if openmetrics is not None:
        from servebench.export.openmetrics import openmetrics as openmetrics_text

        write_bytes(openmetrics, openmetrics_text(found, objectives=objectives).encode())
    if junit is not None or markdown is not None:
        from servebench.export import ci

        if junit is not None:
            write_bytes(junit, ci.junit_xml(summary).encode())
        if markdown is not None and str(markdown) != "-":
            write_bytes(markdown, ci.markdown(summary).encode())
        elif markdown is not None:
            click.echo(ci.markdown(summary), nl=False)
    if as_json:
        import json

        click.echo(json.dumps(summary.to_json(), indent=2))
    elif str(markdown) != "-":
        from servebench.export.table import print_summary

        print_summary(summary)
    from servebench.results.exit_code import exit_code

    raise SystemExit(exit_code(summary))


def _objectives(slo: tuple[str, ...], goodput: tuple[str, ...], classes: set[str]) -> "Objectives | None":
    """Those of the command line; None = those of the run."""
    from servebench.results.facts import Objectives
    from servebench.results.slo import parse_goodput, parse_slos

    if not slo and not goodput:
        return None
    gates = parse_slos(slo, classes=classes)
    return Objectives(gates, gates, parse_goodput(goodput) if goodput else None)
