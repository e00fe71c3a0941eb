"""A self-contained page: sections of HTML, charts as SVG, one style and one script, nothing loaded.

Content-Security-Policy: default-src 'none', its own style and script by hash. What callers put into the
body is HTML already: texts from outside are escaped where they are put in.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from html import escape
from importlib.resources import files

from servebench.export.svg import Chart, readout, svg


def page_html(title: str, body: Sequence[str], drawn: Sequence[Chart]) -> str:
    """The page. drawn: the charts that the body shows, for the script that reads them under the pointer."""
    script = _asset("report.js")
    series = _json({chart.key: readout(chart) for chart in drawn})
    scripts = (
        f'<script type="application/json" id="series">{series}</script>',
        '<p class="soft" id="self-check"></p>',
        f"<script>{script}</script>",
    )
    return _document(title, [*body, *scripts], script_source=f"script-src '{_hash(script)}'; ")


def still_page_html(title: str, body: Sequence[str]) -> str:
    """A page without any script."""
    return _document(title, body, script_source="")


def _document(title: str, body: Sequence[str], *, script_source: str) -> str:
    style = _asset("report.css")
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; {script_source}base-uri 'none'; form-action 'none'"
    )
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
            "</body></html>\n",
        ]
    )


def figures_html(heading: str, drawn: Sequence[Chart]) -> str:
    """The charts under a heading, each with its legend (of the lines that have a name); "" without any."""
    figures = []
    for chart in drawn:
        legend = "".join(
            f'<li><svg viewBox="0 0 12 6" aria-hidden="true"><rect class="s{line.colour % 6}" '
            f'width="12" height="6"/></svg>{escape(line.name)}</li>'
            for line in chart.lines
            if line.name
        )
        figures.append(
            f'<figure data-chart="{chart.key}"><h3>{escape(chart.title)}</h3>{svg(chart)}'
            f'<ul class="legend">{legend}</ul><figcaption>{escape(chart.caption)}</figcaption></figure>'
        )
    if not figures:
        return ""
    return f'<h2>{escape(heading)}</h2><div class="charts">{"".join(figures)}</div>'


def _asset(name: str) -> str:
    return (files("servebench.export") / "page" / name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"


def _json(value: object) -> str:
    """JSON that can stand inside a script element: no "<" ends it."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
