"""economics.html: the table and one chart, dollars per million tokens against speed for a user, tier by tier.

Each line is a tier's operating points in closed form, from one sequence at a time (fast, dear) to as many
as fit (slow, cheap); the dot is where the simulation says the SLO lets it stand.
"""

from collections.abc import Sequence
from html import escape
from math import log10

from servebench.export import economics_table as table
from servebench.export.html_page import figures_html, page_html
from servebench.export.svg import Chart, Line
from servebench.plan.economics_study import Study

FILE = "economics.html"
MARKDOWN_FILE = "economics.md"
JSON_FILE = "economics.json"


def economics_html(study: Study) -> str:
    """The page."""
    name = study.question.scenario.name
    drawn = [frontier(study)] if study.rows else []
    modelled = any(row.modelled for row in study.rows)
    body = [
        f"<h1>What serving costs: {escape(name)}</h1>",
        '<p class="soft">MODELLED rows carry their band in brackets.</p>' if modelled else "",
        _table("Per tier", table.HEADINGS, table.rows(study)),
        figures_html("Speed against cost", drawn),
    ]
    if study.rows:
        cases = next(iter(study.cluster.values()))
        if cases:
            cluster = cases[0].cluster.name
            body.append(_table(f"On {cluster}", table.CLUSTER_HEADINGS, table.cluster_rows(study)))
        body.append(
            _table(f"List prices of {study.on}", table.MARKET_HEADINGS, table.market_rows(study), text=2)
        )
    body += ["<h2>What it rests on</h2>", *(f"<p>{escape(note)}</p>" for note in table.notes(study))]
    return page_html(f"servebench economics: {name}", body, drawn)


def frontier(study: Study) -> Chart:
    """Tokens per second of one user, linear, against USD per million tokens, logarithmic."""
    lines = []
    for colour, row in enumerate(study.rows):
        points = sorted((1 / point.tpot_s, float(row.curve_usd(point))) for point in row.curve)
        label = f"{row.tier.name}, {row.tier.serving.gpus} x {row.gpu.name}" + " (MODELLED)" * row.modelled
        lines.append(Line(label, [x for x, _ in points], [log10(y) for _, y in points], colour))
        lines.append(Line("", [row.speed_tokens_per_s], [log10(row.usd)], colour, dots=True))
    return Chart(
        "frontier",
        "Dollars per million tokens against speed",
        "tokens/s of one user",
        "$/Mtok, logarithmic",
        lines,
        log_y=True,
        caption=(
            f"Lines: closed form over batch sizes, {study.question.terms.basis} hours, idle time of the day "
            "included. Dots: the simulated SLO point, whose speed is the median at the planned peak."
        ),
    )


def _table(title: str, headings: Sequence[str], lines: Sequence[Sequence[str]], *, text: int = 1) -> str:
    """The first `text` columns left-aligned."""

    def cell(tag: str, value: str, place: int) -> str:
        kind = ' class="text"' if place < text else ""
        return f"<{tag}{kind}>{escape(value)}</{tag}>"

    head = "".join(cell("th", heading, place) for place, heading in enumerate(headings))
    body = "".join(
        f"<tr>{''.join(cell('td', value, place) for place, value in enumerate(line))}</tr>" for line in lines
    )
    return (
        f'<h2>{escape(title)}</h2><div class="wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )
