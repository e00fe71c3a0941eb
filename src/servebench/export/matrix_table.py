"""The matrix on a terminal and in Markdown: one table, a row a tier."""

import json
import re
import sys

from rich.console import Console
from rich.table import Table
from rich.text import Text

from servebench.export.matrix_rows import HEADINGS, TASK_HEADINGS, notes, rows, task_rows
from servebench.results.matrix import Matrix
from servebench.results.summary import ALL

_PIPED_COLUMNS = 160


def print_matrix(matrix: Matrix, *, as_json: bool) -> None:
    """On standard output."""
    if as_json:
        print(json.dumps(matrix.to_json(), indent=2))
        return
    out = Console(highlight=False)
    if not out.is_terminal:
        out = Console(highlight=False, width=_PIPED_COLUMNS)
    names = matrix.class_names()
    shown = names if len(names) > 2 else names[:1]
    table = Table(
        title=f"{matrix.scenario} over {len(matrix.planned)} tiers, seed {matrix.seed}, on {matrix.target}",
        title_justify="left", box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold",
    )  # fmt: skip
    for position, heading in enumerate((*(["class"] if len(shown) > 1 else []), *HEADINGS)):
        left = position < len(shown) > 1 or heading in ("tier", "result")
        table.add_column(heading, justify="left" if left else "right", no_wrap=False)
    for number, name in enumerate(shown):
        if number:
            table.add_section()
        for k, row in enumerate(rows(matrix, name)):
            first = [Text(name if k == 0 else "")] if len(shown) > 1 else []
            table.add_row(*first, *map(Text, row))
    out.print(table)
    if tasks := task_rows(matrix):
        out.print()
        out.print(_tasks(tasks))
    for line in notes(matrix):
        out.print(line, soft_wrap=True)
    sys.stdout.flush()


def _tasks(tasks: list[tuple[str, ...]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for heading in TASK_HEADINGS:
        table.add_column(heading, justify="left" if heading in ("tier", "tasks") else "right")
    for row in tasks:
        table.add_row(*map(Text, row))
    return table


def matrix_markdown(matrix: Matrix) -> str:
    """For $GITHUB_STEP_SUMMARY."""
    lines = [f"## servebench: {matrix.scenario} over {len(matrix.planned)} tiers", ""]
    lines += [f"| {' | '.join(map(_plain, row))} |" for row in rows(matrix, ALL)]
    return "\n".join([*lines, "", *(f"- {_plain(line)}" for line in notes(matrix))]) + "\n"


def _plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([\\`*_|$<])", r"\\\1", text)
