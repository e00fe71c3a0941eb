"""The rows of a matrix as texts, the same for the terminal, the page and Markdown."""

from servebench.export import figures
from servebench.results.class_summary import ClassSummary
from servebench.results.matrix import Matrix, MatrixRun, cached_share, interactivity, usd_per_thousand

HEADINGS = (
    "tier", "result", "TTFT p50", "p95", "TPOT p50", "tokens/s a user", "E2E p50", "p95", "good",
    "failed", "cached", "$/1000 requests", "$/Mtok",
)  # fmt: skip


TASK_HEADINGS = (
    "tier", "tasks", "finished", "failed", "cut", "share finished", "time p50", "time p95", "model time p50",
    "calls a task", "$/finished task",
)  # fmt: skip


def task_rows(matrix: Matrix) -> list[tuple[str, ...]]:
    """Agents' tasks, one row a tier that has some."""
    found = []
    for run in matrix.runs:
        tasks = {} if run.summary is None else run.summary.tasks
        for name, one in list(tasks.items())[:1]:  # all, or the only class
            label = f"{run.name} *" if run.modelled else run.name
            found.append(
                (
                    label,
                    name,
                    *(figures.count(count) for count in (one.finished, one.failed, one.cut)),
                    *figures.of_tasks(one),
                )
            )
    return found


def rows(matrix: Matrix, class_name: str) -> list[tuple[str, ...]]:
    """One a tier that was planned, in order, one cell a heading."""
    by_model = {run.model: run for run in matrix.runs}
    return [_row(model, by_model.get(model), class_name) for model in matrix.planned]


def _row(model: str, run: MatrixRun | None, class_name: str) -> tuple[str, ...]:
    if run is None or run.summary is None:
        said = "not yet run" if run is None else f"no result (exit {run.exit_code})"
        return (model, said, *[figures.NOTHING] * (len(HEADINGS) - 2))
    one = run.summary.classes.get(class_name)
    name = f"{run.name} *" if run.modelled else run.name
    if one is None:
        return (name, result(run), *[figures.NOTHING] * (len(HEADINGS) - 2))
    return (name, result(run), *_figures(one))


def result(run: MatrixRun) -> str:
    """VALID or INVALID, and the verdict where objectives were set."""
    summary = run.summary
    if summary is None:
        return f"exit {run.exit_code}"
    parts = ["VALID" if summary.valid else "INVALID"]
    if summary.verdict is not None:
        parts.append(summary.verdict.value)
    if summary.stopped_by_budget:
        parts.append("budget")
    return ", ".join(parts)


def _figures(one: ClassSummary) -> tuple[str, ...]:
    ttft, tpot, e2e = (one.latency_s[metric] for metric in ("ttft", "tpot", "e2e"))
    return (
        figures.percentile(ttft, "p50"),
        figures.percentile(ttft, "p95"),
        figures.percentile(tpot, "p50"),
        figures.rate(interactivity(one)),
        figures.percentile(e2e, "p50"),
        figures.percentile(e2e, "p95"),
        figures.share(one.attainment),
        figures.count(one.failed),
        figures.share(None if (share := cached_share(one)) is None else round(share, 3)),
        figures.dollars(usd_per_thousand(one)),
        figures.dollars(one.usd_per_million_tokens),
    )


def notes(matrix: Matrix) -> list[str]:
    """What one must know to read it."""
    lines = []
    if any(run.modelled for run in matrix.runs):
        lines.append("* announced, not for sale: its price is MODELLED, and on the mock its speed too")
    if matrix.runs:
        lines.append(
            "every tier got the same requests at the same times"
            if matrix.same_workload
            else "the tiers did not get the same requests: their windows or tokens differ"
        )
    lines += [
        f"{run.model} is INVALID: {run.summary.invalid_reasons[0]}"
        for run in matrix.runs
        if run.summary is not None and not run.summary.valid
    ]
    missing = [model for model in matrix.planned if model not in {run.model for run in matrix.runs}]
    if missing:
        lines.append(f"still to run: {', '.join(missing)}; the same command with the same --out goes on")
    return lines
