"""The charts of a run's page, from its records: what was asked, what came back, and when."""

import numpy as np
from numpy.typing import NDArray

from servebench.export.svg import Chart, Line
from servebench.results.columns import Columns
from servebench.results.run_directory import Run
from servebench.results.slo import ttft_limit_s
from servebench.results.summary import Summary

MAX_POINTS = 300  # of a line
MAX_DOTS = 1_200  # of all classes together
_BINS = (8, 60)
_PER_BIN = 6  # requests: fewer would draw the arrival process, not the rate

Floats = NDArray[np.float64]


def charts(run: Run, summary: Summary) -> list[Chart]:
    """In the order of the page; none for a run without requests."""
    columns = run.columns
    if not len(columns):
        return []
    limit_s = ttft_limit_s([result.slo for result in summary.gates])
    return [
        _rates(columns, summary),
        _in_flight(columns, summary),
        _ttft_over_time(columns, summary, limit_s),
        _ttft_ecdf(columns, summary, limit_s),
        _itl_ecdf(columns, summary),
        _tokens(run, columns, summary),
    ]


def _rates(columns: Columns, summary: Summary) -> Chart:
    at = columns.numbers
    edges = _bin_edges(columns)
    width_s = float(edges[1] - edges[0])
    series = (
        ("offered", at["intended_ns"]),
        ("sent", at["sent_ns"]),
        ("completed", np.where(columns.ok, at["last_token_ns"], np.nan)),
        ("failed", np.where(columns.ok, np.nan, at["end_ns"])),
    )
    lines = []
    for colour, (name, times_ns) in zip((0, 1, 2, 4), series, strict=True):
        counts, _ = np.histogram(times_ns[~np.isnan(times_ns)] / 1e9, bins=edges)
        if name != "failed" or counts.any():
            xs, ys = edges.tolist(), (counts / width_s).tolist()
            lines.append(Line(name, xs, [*ys, ys[-1]], colour, steps=True, broad=name == "offered"))
    return Chart(
        "rates", "Offered and achieved rate", "seconds since the start", "requests/s", lines,
        caption=f"In steps of {width_s:.3g} s. Grey: warm-up.", shade=_warmup(summary),
    )  # fmt: skip


def _in_flight(columns: Columns, summary: Summary) -> Chart:
    sent, end = columns.numbers["sent_ns"] / 1e9, columns.numbers["end_ns"] / 1e9
    sent_once = ~np.isnan(sent)
    starts, ends = np.sort(sent[sent_once]), np.sort(end[sent_once])
    grid = np.linspace(0, float(_bin_edges(columns)[-1]), MAX_POINTS)
    open_now = np.searchsorted(starts, grid, side="right") - np.searchsorted(ends, grid, side="right")
    line = Line("in flight", grid.tolist(), open_now.astype(float).tolist(), 0)
    return Chart(
        "in-flight", "Requests in flight", "seconds since the start", "requests", [line],
        caption="Sent and not yet ended.", shade=_warmup(summary),
    )  # fmt: skip


def _ttft_over_time(columns: Columns, summary: Summary, limit_s: float | None) -> Chart:
    ttft_s, at_s = columns.latency_s("ttft"), columns.numbers["intended_ns"] / 1e9
    finite = np.isfinite(ttft_s)
    every = max(-(-int(finite.sum()) // MAX_DOTS), 1)
    lines = []
    for code, name in enumerate(columns.class_names):
        rows = np.flatnonzero(finite & (columns.class_code == code))
        rows = rows[np.argsort(at_s[rows], kind="stable")][::every]
        lines.append(Line(name, at_s[rows].tolist(), ttft_s[rows].tolist(), code, dots=True))
    failed = np.sort(at_s[~columns.ok])
    thin = max(-(-len(failed) // 300), 1)
    caption = "By intended start, up to the first token of any kind."
    if every > 1:
        caption += f" One request of {every} is drawn."
    if len(failed):
        caption += f" Crosses at the top: {len(failed)} failed requests."
    return Chart(
        "ttft-time", "TTFT over time", "seconds since the start", "seconds", lines, caption=caption,
        shade=_warmup(summary), limit_y=limit_s, marks=failed[::thin].tolist(),
    )  # fmt: skip


def _ttft_ecdf(columns: Columns, summary: Summary, limit_s: float | None) -> Chart:
    return Chart(
        "ttft-ecdf", "TTFT: share of requests with it", "seconds, logarithmic", "% of offered",
        _ecdf_lines(columns, summary, "ttft"), log_x=True, y_top=100.0,
        caption="Failures never reach it: a curve that stays under 100 % has them.",
        limit_x=None if limit_s is None else float(np.log10(limit_s)),
    )  # fmt: skip


def _itl_ecdf(columns: Columns, summary: Summary) -> Chart:
    return Chart(
        "itl-ecdf", "ITL: share of gaps between chunks", "seconds, logarithmic", "% of gaps",
        _ecdf_lines(columns, summary, "itl"), log_x=True, y_top=100.0,
        caption="Gaps of all requests pooled, by class.",
    )  # fmt: skip


def _ecdf_lines(columns: Columns, summary: Summary, metric: str) -> list[Line]:
    """One step curve a class over the steady window; failures at +inf hold it under 100 %."""
    inside = columns.select(summary.window.contains(columns.numbers["intended_ns"]))
    lines = []
    for code, name in enumerate(inside.class_names):
        values = np.sort(inside.of_class(name).latency_s(metric))
        reached = int(np.searchsorted(values, np.inf))
        if reached:
            ranks = np.unique(np.linspace(0, reached - 1, MAX_POINTS).astype(np.int64))
            xs = np.log10(np.maximum(values[ranks], 1e-6))
            lines.append(
                Line(name, xs.tolist(), (100 * (ranks + 1) / len(values)).tolist(), code, steps=True)
            )
    return lines


def _tokens(run: Run, columns: Columns, summary: Summary) -> Chart:
    """Output tokens a second, each request's tokens spread evenly over its chunks."""
    since_us, owner = run.chunks.since_send_us()
    at_s = (np.nan_to_num(columns.numbers["sent_ns"])[owner] + since_us * 1000.0) / 1e9
    tokens = columns.tokens()
    per_chunk = (tokens["output"] + tokens["reasoning"]) / np.maximum(columns.numbers["chunks"], 1)
    edges = _bin_edges(columns)
    width_s = float(edges[1] - edges[0])
    sums, _ = np.histogram(at_s, bins=edges, weights=per_chunk[owner])
    ys = (sums / width_s).tolist()
    line = Line("output tokens/s", edges.tolist(), [*ys, ys[-1]], 2, steps=True)
    return Chart(
        "tokens", "Output tokens a second", "seconds since the start", "tokens/s", [line],
        caption="Visible and reasoning tokens, at the time of their chunks.", shade=_warmup(summary),
    )  # fmt: skip


def _bin_edges(columns: Columns) -> Floats:
    end_s = max(float(np.nanmax(columns.numbers["end_ns"])) / 1e9, 1e-3)
    bins = min(max(len(columns) // _PER_BIN, _BINS[0]), _BINS[1])
    return np.linspace(0, end_s * (1 + 1e-9), bins + 1)


def _warmup(summary: Summary) -> tuple[float, float]:
    return 0.0, summary.window.start_ns / 1e9
