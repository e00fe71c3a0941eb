"""What a run's page says of the run itself: was it steady, did it saturate, how good was the client."""

from collections.abc import Iterable
from html import escape
from typing import Any

from servebench.export import figures
from servebench.export.report_sections import row, table
from servebench.results.facts import RunFacts
from servebench.results.run_directory import Run
from servebench.results.saturation import Slope
from servebench.results.summary import ALL, Summary
from servebench.results.validity import (
    LAG_FLOOR_S,
    LAG_SHARE_OF_TTFT,
    MAX_CLOCK_STEP_S,
    MAX_CLOCK_UNCERTAINTY_S,
    MAX_COALESCED_SHARE,
    MAX_CPU_RATIO,
    MAX_LITTLE_ERROR,
    MAX_LOOP_LAG_S,
)

_SERIES = {"in_flight": "requests in flight", "output_tokens_per_s": "output tokens/s", "ttft": "TTFT"}


def steadiness(summary: Summary) -> str:
    """When each series had settled, the throughput with its interval, and whether the queue grew."""
    flow, rows = summary.flow, []
    steady = flow.steadiness
    if steady is not None:
        half = f"half the run, {figures.duration(steady.run_s / 2)}"
        for name, cut_s in steady.cut_s.items():
            what = f"{_SERIES[name]} settled after (MSER-5)"
            rows.append((what, "too short to tell" if cut_s is None else figures.duration(cut_s), half))
    tokens = flow.output_tokens
    if tokens is not None:
        said = "no interval: neighbouring batches go together, the run is too short for one"
        if tokens.low is not None:
            said = f"{figures.rate(tokens.low)} to {figures.rate(tokens.high)} ({tokens.batches} batches)"
        rows.append(("output tokens/s, by the time of emission", figures.rate(tokens.mean), said))
    found = flow.saturation
    if found is not None:
        over = f"from {found.start_s:.0f} s to {found.end_s:.0f} s"
        rows.append(("saturated", "yes" if found.saturated else "no", over))
        rows.append(("in flight rose by", *_rise(found.in_flight, "/s")))
        if found.ttft is not None:
            rows.append(("TTFT rose by", *_rise(found.ttft, " s/s")))
    if not rows:
        return ""
    made = [row((name, "text"), escape(value), (escape(more), "text")) for name, value, more in rows]
    caption = "Saturated: both rose with 95 % confidence, and by a tenth of their mean or more."
    return table("The run over time", ("", "found", ""), made, left=(0, 2), caption=caption)


def _rise(slope: Slope, unit: str) -> tuple[str, str]:
    return f"{slope.per_s:+.3g}{unit}", f"at least {slope.low_per_s:+.3g}{unit}; {slope.rise:+.0%} in all"


def health(run: Run, summary: Summary) -> str:
    """The load generator's own error, each figure with the limit that makes a run INVALID."""
    facts, everything = RunFacts.of(run.manifest), summary.classes[ALL]
    chunks = sum(record.chunks for record in run.records)
    coalesced = sum(record.coalesced for record in run.records)
    stamps = sum(record.user_stamps for record in run.records)
    lag = everything.latency_s["client_lag"]
    reused = sum(record.reused_connection for record in run.records)
    little = summary.flow.little
    limit = f"{LAG_FLOOR_S * 1e3:.0f} ms, or {LAG_SHARE_OF_TTFT:.0%} of the TTFT limit"
    rows = (
        ("client lag p50", figures.percentile(lag, "p50"), ""),
        ("client lag p99", figures.percentile(lag, "p99"), limit),
        ("event loop late, p99", figures.duration(facts.loop_lag_s), figures.duration(MAX_LOOP_LAG_S)),
        ("event loop still, p99", figures.duration(facts.loop_stall_s), figures.duration(MAX_LOOP_LAG_S)),
        (
            "worst clock of several hosts, ±",
            figures.duration(facts.clock_uncertainty_s),
            figures.duration(MAX_CLOCK_UNCERTAINTY_S),
        ),
        (
            "clock set in the run, by",
            figures.duration(facts.clock_step_s),
            figures.duration(MAX_CLOCK_STEP_S),
        ),
        ("CPU of the busiest process", figures.share(facts.cpu_ratio), figures.share(MAX_CPU_RATIO)),
        ("chunks", figures.count(chunks), ""),
        ("chunks that shared a read", _of(coalesced, chunks), figures.share(MAX_COALESCED_SHARE)),
        ("chunks without a kernel stamp", _of(stamps, chunks), ""),
        ("reads that should have had one", figures.count(facts.missing_stamps), "0"),
        ("requests on a reused connection", _of(reused, len(run.records)), ""),
        ("under way, arrivals times residence", figures.rate(little.expected if little else None), ""),
        ("under way, counted apart", figures.rate(facts.mean_in_flight), ""),
        ("under way, seen every 20 ms", figures.rate(facts.mean_in_flight_seen), ""),
        (
            "difference of the first two",
            figures.share(little.error if little else None),
            figures.share(MAX_LITTLE_ERROR),
        ),
        ("records cut off", figures.count(run.torn), "0"),
        ("chunk times lost", figures.count(run.chunks.lost), ""),
        *_selfcheck(run.manifest.get("selfcheck")),
    )
    made = [row((name, "text"), escape(value), (escape(bound), "text")) for name, value, bound in rows]
    return table("Load generator", ("", "measured", "limit"), made, left=(0, 2))


def _selfcheck(result: Any) -> Iterable[tuple[str, str, str]]:
    """What the instrument's last selfcheck on that machine found, each number of streams it tried."""
    if not isinstance(result, dict):
        yield "the instrument's own error", "not measured on this machine", "run `servebench selfcheck` once"
        return
    limits = result.get("limits") or {}
    day = str(result.get("date", ""))[:10]
    for count, one in (result.get("streams") or {}).items():
        error_us = one.get("chunk_error_us", {}).get("p99")
        name = f"selfcheck of {day}: chunk times off by, p99, {count} streams"
        shown = figures.NOTHING if error_us is None else f"{error_us:.1f} µs"
        yield name, shown, f"{limits.get('chunk_error_p99_us', 0):g} µs"


def _of(part: int, whole: int) -> str:
    return f"{figures.count(part)} ({figures.share(part / whole)})" if whole else figures.count(part)
