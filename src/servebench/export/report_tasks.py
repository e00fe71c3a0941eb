"""The table of agents' tasks of a run's page."""

from html import escape

from servebench.export import figures
from servebench.export.report_sections import row, table
from servebench.results.summary import Summary

_CAPTION = (
    "Sessions that began in the steady window, each as a whole: from the intended start of its first call to "
    "the last token of its last, tools and thinking included; model time is what was waited for the model. "
    "Failed tasks count at +Inf; those that the end of the run cut short have no time, and the longest are "
    "cut first. Dollars: of all tasks, by those that finished."
)


def tasks(summary: Summary) -> str:
    """Empty for a run without sessions."""
    if not summary.tasks:
        return ""
    headings = (
        "class", "begun", "finished", "failed", "cut", "finished share", "time p50", "time p95",
        "model time p50", "calls a task", "most calls", "tokens a task", "API bill", "per finished task",
    )  # fmt: skip
    rows = [
        row(
            (escape(name), "text"),
            *(figures.count(count) for count in (one.begun, one.finished, one.failed, one.cut)),
            figures.share(one.finished_share),
            *(escape(figures.percentile(one.time_s, quantile)) for quantile in ("p50", "p95")),
            escape(figures.percentile(one.model_time_s, "p50")),
            figures.rate(one.calls_mean),
            figures.count(one.calls_max),
            figures.NOTHING if one.tokens_mean is None else figures.count(one.tokens_mean),
            figures.dollars(one.cost_usd),
            figures.dollars(one.usd_per_finished_task),
        )
        for name, one in summary.tasks.items()
    ]
    return table("Tasks", headings, rows, caption=_CAPTION)
