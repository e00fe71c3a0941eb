"""The tables and lists of a run's page. Every text from outside is escaped where it is put in."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from servebench.export import figures
from servebench.export.money_lines import money_lines
from servebench.results.class_summary import ClassSummary
from servebench.results.gate import Verdict
from servebench.results.money import plain
from servebench.results.run_directory import Run
from servebench.results.summary import ALL, Summary

_COLOURS = {Verdict.PASS: "good", Verdict.FAIL: "bad", Verdict.INCONCLUSIVE: "unsure"}
_SHOWN = ("ttft", "service_ttft", "ttfvt", "tpot", "itl", "e2e", "client_lag")
_TOKEN_KINDS = ("input", "cached_input", "output", "reasoning")


def header(summary: Summary) -> str:
    """What ran, and the two things to know first: is it valid, did it pass."""
    run = summary.run
    line = ", ".join(str(run[key]) for key in ("model", "mode", "t0_utc") if run.get(key))
    stamps = [_stamp("VALID", "good") if summary.valid else _stamp("INVALID", "bad")]
    if summary.verdict is not None:
        stamps.append(_stamp(summary.verdict.value, _COLOURS[summary.verdict]))
    if summary.interrupted:
        stamps.append(_stamp("interrupted", "unsure"))
    if summary.stopped_by_budget:
        stamps.append(_stamp("stopped by its budget", "unsure"))
    reasons = "".join(f'<p class="bad">{escape(reason)}</p>' for reason in summary.invalid_reasons)
    notes = "".join(f'<p class="unsure">{escape(warning)}</p>' for warning in summary.warnings)
    return (
        f"<h1>{escape(str(run.get('scenario') or 'run'))}</h1>"
        f'<p class="soft">{escape(line)}</p><div class="stamps">{"".join(stamps)}</div>{reasons}{notes}'
    )


def tiles(summary: Summary) -> str:
    everything = summary.classes[ALL]
    ttft, tpot = everything.latency_s["ttft"], everything.latency_s["tpot"]
    shown = (
        (figures.rate(everything.completed_rps), "requests/s completed"),
        (figures.rate(everything.output_tokens_per_s), "output tokens/s"),
        (figures.percentile(ttft, "p50"), "TTFT p50"),
        (figures.percentile(ttft, "p95"), "TTFT p95"),
        (figures.percentile(tpot, "p50"), "TPOT p50"),
        (figures.share(everything.attainment), "of offered requests good"),
        (figures.dollars(everything.cost.usd), "API bill"),
        (figures.dollars(everything.usd_per_million_tokens), "per million tokens"),
    )
    cells = "".join(
        f'<div class="tile"><b>{escape(value)}</b><span>{name}</span></div>' for value, name in shown
    )
    return f'<div class="tiles">{cells}</div>'


def gates(summary: Summary) -> str:
    if not summary.gates:
        return "<h2>Gates</h2><p>No objective was set, so there is no verdict.</p>"
    rows = [
        row(
            (f'<b class="{_COLOURS[result.verdict]}">{result.verdict.value}</b>', "text"),
            (escape(result.slo.text), "text"),
            escape(f"{figures.measured_name(result.slo)} {figures.gate_value(result)}"),
            figures.count(result.n),
            figures.count(result.over),
            (escape(result.reason), "prose"),
        )
        for result in summary.gates
    ]
    headings = ("verdict", "objective", "measured", "n", "over", "counted")
    return table("Gates", headings, rows, left=(0, 1, 5), caption="Exact binomial test at 99 % confidence.")


def rates(summary: Summary) -> str:
    headings = (
        "class", "offered", "completed", "failed", "offered/s", "achieved/s", "completed/s", "goodput/s",
        "good",
        "output tokens/s", "in flight",
    )  # fmt: skip
    rows = [
        row(
            (escape(name), "text"),
            figures.count(one.offered),
            figures.count(one.completed),
            figures.count(one.failed),
            *map(figures.rate, (one.offered_rps, one.achieved_rps, one.completed_rps, one.goodput_rps)),
            figures.share(one.attainment),
            figures.rate(one.output_tokens_per_s),
            figures.rate(one.mean_in_flight),
        )
        for name, one in summary.classes.items()
    ]
    start_s, end_s = summary.window.start_ns / 1e9, summary.window.end_ns / 1e9
    caption = (
        f"Counts are of the whole run; rates of its steady window, {start_s:g} s to {end_s:g} s. "
        "Achieved: sent on schedule. Good: succeeded within every limit, of those offered."
    )
    return table("Throughput", headings, rows, caption=caption)


def latencies(summary: Summary) -> str:
    headings = ("class", "metric", "p50", "p95", "p99", "mean", "n", "p99, 95 % interval")
    groups = [_latency_rows(name, one) for name, one in summary.classes.items()]
    caption = (
        "Nearest rank over the steady window, failures at +Inf. n<72: too few samples for the percentile. "
        "TTFT, TTFVT and E2E count from the intended start, service TTFT from the send; ITL is "
        "between chunks; means are of finite values."
    )
    return table("Latency", headings, groups, left=(0, 1), caption=caption, grouped=True)


def _latency_rows(name: str, one: ClassSummary) -> str:
    rows = []
    for position, metric in enumerate(_SHOWN):
        values = one.latency_s[metric]
        p99 = values.p99
        interval = f"{figures.duration(p99.low)} to {figures.duration(p99.high)}" if p99 else figures.NOTHING
        rows.append(
            row(
                (escape(name) if position == 0 else "", "text"),
                (figures.LATENCIES[metric], "text"),
                *(escape(figures.percentile(values, quantile)) for quantile, _ in figures.QUANTILES),
                figures.duration(values.mean),
                figures.count(values.n),
                interval,
            )
        )
    return "".join(rows)


def outcomes(summary: Summary) -> str:
    everything = summary.classes[ALL].outcomes
    shown = [outcome for outcome, count in everything.items() if count or outcome == "success"]
    rows = [
        row((escape(name), "text"), *(figures.count(one.outcomes[outcome]) for outcome in shown))
        for name, one in summary.classes.items()
    ]
    return table("Outcomes", ("class", *shown), rows, caption="Of all requests offered, warm-up included.")


def costs(summary: Summary) -> str:
    components = list(summary.classes[ALL].cost.component_usd)
    headings = (
        "class", "input", "cached", "output", "reasoning", "API bill", "of it wasted", "per million",
        *(f"{name.replace('_', ' ')} $" for name in components),
    )  # fmt: skip
    rows = [
        row(
            (escape(name), "text"),
            *(figures.count(one.tokens[kind]) for kind in _TOKEN_KINDS),
            f'<span title="{escape(_exact(one))}">{figures.dollars(one.cost.usd)}</span>',
            figures.dollars(one.cost.wasted_usd),
            figures.dollars(one.usd_per_million_tokens),
            *(figures.dollars(one.cost.component_usd.get(component)) for component in components),
        )
        for name, one in summary.classes.items()
    ]
    caption = (
        f"Disjoint token kinds of the whole run. Exact total: {_exact(summary.classes[ALL])}. "
        "Wasted: of requests that failed or were cut off, and of attempts before the last."
    )
    truth = [] if summary.prompt_tokens is None else summary.prompt_tokens.texts()
    told = "".join(f'<p class="soft">{escape(line)}.</p>' for line in truth)
    said = "".join(f"<li>{escape(line)}</li>" for line in money_lines(summary))
    made = table("Tokens and dollars", headings, rows, caption=escape(caption))
    return f'{made}{told}<ul class="soft">{said}</ul>'


def facts(run: Run, summary: Summary) -> str:
    manifest = run.manifest
    shown = {
        **summary.run,
        "command": " ".join(map(str, manifest.get("command") or ())),
        "directory": run.path.name,
    }
    items = "".join(
        f"<dt>{escape(key.replace('_', ' '))}</dt><dd>{escape(_flat(value))}</dd>"
        for key, value in shown.items()
        if value not in (None, "", [], {})
    )
    return f"<h2>Run</h2><dl>{items}</dl>"


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_flat(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(_flat, value))
    return str(value)


def _exact(one: ClassSummary) -> str:
    return "not known" if one.cost.usd is None else f"${plain(one.cost.usd)}"


def _stamp(text: str, colour: str) -> str:
    return f'<span class="stamp {colour}">{escape(text)}</span>'


def row(*cells: "str | tuple[str, str]") -> str:
    """Cells are HTML already; (HTML, class) for those that are no figures."""
    made = (
        f'<td class="{cell[1]}">{cell[0]}</td>' if isinstance(cell, tuple) else f"<td>{cell}</td>"
        for cell in cells
    )
    return f"<tr>{''.join(made)}</tr>"


def table(
    title: str,
    headings: Sequence[str],
    rows: Iterable[str],
    *,
    left: tuple[int, ...] = (0,),
    caption: str = "",
    grouped: bool = False,
) -> str:
    head = "".join(
        f'<th scope="col"{" class=text" if position in left else ""}>{escape(heading)}</th>'
        for position, heading in enumerate(headings)
    )
    body = "".join(f"<tbody>{row}</tbody>" for row in rows) if grouped else f"<tbody>{''.join(rows)}</tbody>"
    said = f"<caption>{caption}</caption>" if caption else ""
    return (
        f'<h2>{title}</h2><div class="wide"><table>{said}<thead><tr>{head}</tr></thead>{body}</table></div>'
    )
