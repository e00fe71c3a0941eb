"""The summary on a terminal: rates and dollars, latencies, then VALID or INVALID and the verdict."""

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from servebench.export import figures
from servebench.export.money_lines import money_lines
from servebench.results.class_summary import ClassSummary
from servebench.results.gate import Verdict
from servebench.results.summary import ALL, Summary

PIPED_COLUMNS = 100
_SHOWN = ("ttft", "service_ttft", "ttfvt", "tpot", "itl", "e2e")
_DIFFERS = 0.01  # of the p99: by less, two rows would say the same
_COLOURS = {Verdict.PASS: "green", Verdict.FAIL: "red", Verdict.INCONCLUSIVE: "yellow"}


def print_summary(summary: Summary, console: Console | None = None) -> None:
    """On standard output unless told otherwise; as wide as the terminal, or 100 columns without one."""
    out = console or Console(highlight=False)
    if console is None and not out.is_terminal:
        out = Console(highlight=False, width=PIPED_COLUMNS)
    out.print(summary_table(summary))


def summary_table(summary: Summary) -> RenderableType:
    blank = Text("")
    tables: list[RenderableType] = [
        _rates(summary),
        blank,
        _latencies(summary),
        blank,
        _costs(summary),
        blank,
    ]
    if summary.tasks:
        tables += [_tasks(summary), blank]
    return Group(*tables, *_endings(summary))


def _rates(summary: Summary) -> Table:
    table = _table(
        "class", "offered", "failed", "offered/s", "achieved/s", "done/s", "goodput/s", "good", "tokens out/s"
    )
    for name, one in summary.classes.items():
        table.add_row(
            Text(name),
            figures.count(one.offered),
            Text(figures.count(one.failed), style="red" if one.failed else ""),
            figures.rate(one.offered_rps),
            figures.rate(one.achieved_rps),
            figures.rate(one.completed_rps),
            figures.rate(one.goodput_rps),
            figures.share(one.attainment),
            _tokens_out(summary, name, one),
        )
    return table


def _tokens_out(summary: Summary, name: str, one: ClassSummary) -> str:
    """The total with its interval, where there is one."""
    whole = summary.flow.output_tokens
    half = None if name != ALL or whole is None or whole.high is None else whole.high - whole.mean
    return figures.rate(one.output_tokens_per_s) + ("" if half is None else f" ±{figures.rate(half)}")


def _costs(summary: Summary) -> Table:
    table = _table("class", "input", "cached", "output", "reasoning", "tokens", "cost", "wasted", "$/Mtok")
    for name, one in summary.classes.items():
        table.add_row(
            Text(name),
            *(figures.count(one.tokens[kind]) for kind in ("input", "cached_input", "output", "reasoning")),
            figures.count(one.total_tokens),
            figures.dollars(one.cost.usd),
            figures.dollars(one.cost.wasted_usd),
            figures.dollars(one.usd_per_million_tokens),
        )
    return table


def _tasks(summary: Summary) -> Table:
    table = _table(
        "tasks", "begun", "finished", "failed", "cut", "finished", "time p50", "p95", "model p50", "calls",
        "$/finished task",
    )  # fmt: skip
    for name, one in summary.tasks.items():
        table.add_row(
            Text(name),
            *(figures.count(count) for count in (one.begun, one.finished)),
            Text(figures.count(one.failed), style="red" if one.failed else ""),
            figures.count(one.cut),
            *figures.of_tasks(one),
        )
    return table


def _latencies(summary: Summary) -> Table:
    table = _table("class", "metric", "p50", "p95", "p99", "mean", "n", left=2)
    for position, (name, one) in enumerate(summary.classes.items()):
        if position:
            table.add_section()
        shown = [metric for metric in _SHOWN if _worth_a_row(one, metric)]
        for row, metric in enumerate(shown):
            values = one.latency_s[metric]
            table.add_row(
                Text(name if row == 0 else ""),
                figures.LATENCIES[metric],
                *(figures.percentile(values, quantile) for quantile, _ in figures.QUANTILES),
                figures.duration(values.mean),
                figures.count(values.n),
            )
    return table


def _worth_a_row(one: ClassSummary, metric: str) -> bool:
    """TTFVT where there was reasoning; TTFT from the send where requests left late."""
    ttft, other = one.latency_s["ttft"], one.latency_s[metric]
    if metric == "ttfvt":
        return other.mean != ttft.mean
    if metric != "service_ttft" or ttft.mean is None or other.mean is None:
        return metric != "service_ttft"
    pairs = [(ttft.mean, other.mean)]
    if ttft.p99 is not None and other.p99 is not None:
        pairs.append((ttft.p99.value, other.p99.value))
    return any(one > two * (1 + _DIFFERS) for one, two in pairs)


def _endings(summary: Summary) -> list[Text]:
    lines: list[Text] = []
    if any(outcome != "success" and count for outcome, count in summary.classes["all"].outcomes.items()):
        failures = (
            f"{count} {outcome}"
            for outcome, count in summary.classes["all"].outcomes.items()
            if count and outcome != "success"
        )
        lines.append(Text(f"failures: {', '.join(failures)}; a percentile that they reach is +Inf"))
    if (truth := summary.prompt_tokens) is not None:
        lines += map(Text, truth.texts())
    lines += [Text(line) for line in money_lines(summary)]
    if _any_too_small(summary):
        lines.append(Text("n<72, n<368: fewer samples than that percentile needs"))
    lines += [Text(f"note: {warning}") for warning in summary.warnings]
    if summary.interrupted:
        planned = summary.run.get("planned_requests")
        of = "" if planned is None else f" of {figures.count(planned)} planned requests"
        lines.append(Text(f"interrupted: {figures.count(summary.classes[ALL].offered)}{of} were begun"))
    if summary.valid:
        lines.append(Text("VALID", style="bold green"))
    else:
        lines.append(Text.assemble(("INVALID", "bold red"), f": {summary.invalid_reasons[0]}"))
        lines += [Text(f"         {reason}") for reason in summary.invalid_reasons[1:]]
    for result in summary.gates:
        lines.append(
            Text.assemble(
                (f"{result.verdict.value:<13}", f"bold {_COLOURS[result.verdict]}"),
                f"{result.slo.text}   {figures.measured_name(result.slo)} {figures.gate_value(result)}: ",
                result.reason,
            )
        )
    if summary.verdict is not None and len(summary.gates) > 1:
        lines.append(Text(f"verdict: {summary.verdict.value}", style=f"bold {_COLOURS[summary.verdict]}"))
    return lines


def _any_too_small(summary: Summary) -> bool:
    return any(
        values.n > 0 and None in (values.p50, values.p95, values.p99)
        for one in summary.classes.values()
        for values in (one.latency_s[metric] for metric in _SHOWN)
    )


def _table(*headings: str, left: int = 1) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for position, heading in enumerate(headings):
        table.add_column(heading, justify="left" if position < left else "right", no_wrap=position >= left)
    return table
