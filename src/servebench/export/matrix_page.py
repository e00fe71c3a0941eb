"""matrix.html: one self-contained page that sets the tiers side by side, from the runs' own records."""

from collections.abc import Callable
from html import escape

from servebench.export import figures
from servebench.export.html_page import still_page_html
from servebench.export.matrix_rows import HEADINGS, TASK_HEADINGS, notes, result, rows, task_rows
from servebench.export.report_sections import row, table
from servebench.results.matrix import Matrix, MatrixRun, interactivity, usd_per_thousand
from servebench.results.summary import ALL

FILE = "matrix.html"
_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 640, 300, 60, 40


def matrix_html(matrix: Matrix) -> str:
    """The page. Like report.html it loads nothing; it has no script at all."""
    names = matrix.class_names()
    shown = names if len(names) > 2 else names[:1]
    body = [
        f"<h1>{escape(matrix.scenario)} over {len(matrix.planned)} tiers</h1>",
        f'<p class="soft">target {escape(matrix.target)}, seed {matrix.seed}</p>',
        _stamps(matrix),
        *(f"<p>{escape(line)}</p>" for line in notes(matrix)),
        *(_class_table(matrix, name) for name in shown),
        _tasks(matrix),
        _speed_against_price(matrix),
        _gates(matrix),
        _runs(matrix),
    ]
    return still_page_html(f"servebench: {matrix.scenario}, tiers side by side", body)


def _stamps(matrix: Matrix) -> str:
    made = []
    for run in matrix.runs:
        colour = "bad" if run.exit_code in (1, 2, 3, 5) else "good" if run.exit_code == 0 else "unsure"
        made.append(f'<span class="stamp {colour}">{escape(run.name)}: {escape(result(run))}</span>')
    return f'<div class="stamps">{"".join(made)}</div>'


def _class_table(matrix: Matrix, name: str) -> str:
    made = [
        row((escape(cells[0]), "text"), (escape(cells[1]), "text"), *map(escape, cells[2:]))
        for cells in rows(matrix, name)
    ]
    title = "All requests" if name == ALL else f"Class {escape(name)}"
    return table(title, HEADINGS, made, left=(0, 1))


def _tasks(matrix: Matrix) -> str:
    made = [
        row((escape(cells[0]), "text"), (escape(cells[1]), "text"), *map(escape, cells[2:]))
        for cells in task_rows(matrix)
    ]
    caption = "Sessions as wholes. Dollars: of all tasks, by those that finished."
    return table("Agents' tasks", TASK_HEADINGS, made, left=(0, 1), caption=caption) if made else ""


def _speed_against_price(matrix: Matrix) -> str:
    """A dot a tier: dollars per thousand requests to the right, tokens/s of a user upwards."""
    points: list[tuple[str, float, float]] = []
    for run in matrix.runs:
        if run.summary is None:
            continue
        one = run.summary.classes[ALL]
        speed, usd = interactivity(one), usd_per_thousand(one)
        if speed is not None and usd is not None:
            points.append((run.name, float(usd), speed))
    if len(points) < 2:
        return ""
    most_usd = 1.15 * max(usd for _, usd, _ in points) or 1.0
    most_speed = 1.15 * max(speed for _, _, speed in points)

    def place(usd: float, speed: float) -> tuple[float, float]:
        across = _LEFT + (_WIDTH - _LEFT - 20) * usd / most_usd
        return across, (_HEIGHT - _BOTTOM) * (1 - speed / most_speed) + 10

    marks = []
    for number, (name, dollars, tokens_per_s) in enumerate(points):
        x, y = place(dollars, tokens_per_s)
        marks.append(f'<circle class="s{number % 6}" cx="{x:.1f}" cy="{y:.1f}" r="5"/>')
        marks.append(f'<text x="{x + 8:.1f}" y="{y + 4:.1f}">{escape(name)}</text>')
    return (
        "<h2>Speed against price</h2><figure>"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT + 10}" role="img" aria-label="speed against price">'
        f"{_axes(most_usd, most_speed, place)}{''.join(marks)}</svg>"
        "<figcaption>Tokens/s of one user (1 / TPOT p50) over dollars per thousand successful requests of "
        "this workload. Up and to the left is better.</figcaption></figure>"
    )


def _axes(most_usd: float, most_speed: float, place: Callable[[float, float], tuple[float, float]]) -> str:
    parts = []
    for step in range(5):
        usd, speed = most_usd * step / 4, most_speed * step / 4
        x, _ = place(usd, 0)
        _, y = place(0, speed)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - 20}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{speed:.0f}</text>')
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - 10}" text-anchor="middle">${usd:.2f}</text>')
    return "".join(parts)


def _gates(matrix: Matrix) -> str:
    made = [
        row(
            (escape(run.name), "text"),
            (f"<b>{gate.verdict.value}</b>", "text"),
            (escape(gate.slo.text), "text"),
            escape(f"{figures.measured_name(gate.slo)} {figures.gate_value(gate)}"),
            figures.count(gate.n),
            (escape(gate.reason), "prose"),
        )
        for run in matrix.runs
        if run.summary is not None
        for gate in run.summary.gates
    ]
    headings = ("tier", "verdict", "objective", "measured", "n", "counted")
    return table("Gates", headings, made, left=(0, 1, 2, 5)) if made else ""


def _runs(matrix: Matrix) -> str:
    made = [
        row(
            (f'<a href="{escape(run.run_dir)}/report.html">{escape(run.run_dir)}</a>', "text"),
            (escape(run.model), "text"),
            (escape(_kind(run)), "text"),
            str(run.exit_code),
            (escape(run.workload_hash[:16]), "text"),
        )
        for run in matrix.runs
    ]
    headings = ("report", "model", "price", "exit code", "same workload")
    return table("Runs", headings, made, left=(0, 1, 2, 4))


def _kind(run: MatrixRun) -> str:
    return "none known" if run.price_kind is None else run.price_kind
