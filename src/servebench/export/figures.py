"""Figures as people read them: durations, rates, dollars, percentiles. All outputs share them."""

import math
from decimal import Decimal

from servebench.results.gate import GateResult
from servebench.results.percentiles import Distribution, Percentile, minimum_n
from servebench.results.slo import Slo
from servebench.results.tasks import TaskSummary

NOTHING = "-"
QUANTILES = (("p50", 0.50), ("p95", 0.95), ("p99", 0.99))
# key in a ClassSummary's latency_s -> heading
LATENCIES = {
    "ttft": "TTFT",
    "ttfvt": "TTFVT",
    "tpot": "TPOT",
    "itl": "ITL",
    "e2e": "E2E",
    "service_ttft": "service TTFT",
    "client_lag": "client lag",
}


def duration(value_s: float | None) -> str:
    """Three digits and a unit: "205 ms"; "+Inf" where failures reach."""
    if value_s is None:
        return NOTHING
    if math.isinf(value_s):
        return "+Inf"
    for unit, scale, below_s in (("µs", 1e6, 1e-3), ("ms", 1e3, 1.0)):
        if abs(value_s) < below_s:
            return f"{_three(value_s * scale)} {unit}"
    return f"{_three(value_s)} s"


def percentile(values: Distribution, name: str) -> str:
    """One percentile, or why there is none: "n<72"."""
    found: Percentile | None = getattr(values, name)
    if found is not None:
        return duration(found.value)
    return f"n<{minimum_n(dict(QUANTILES)[name])}" if values.n else NOTHING


def rate(value: float | None) -> str:
    return NOTHING if value is None else _three(value)


def share(value: float | None) -> str:
    """A share in per cent: never 100 % for less than all, nor 0 % for more than nothing."""
    if value is None:
        return NOTHING
    text = f"{100 * value:.1f}"
    if (text == "100.0") != (value == 1) or (text == "0.0") != (value == 0):
        text = f"{100 * value:.6g}"
    return f"{text} %"


def count(value: float) -> str:
    return f"{value:,.0f}"


def dollars(amount: Decimal | str | None) -> str:
    """To four significant places below a dollar, to the cent from a hundred on."""
    if amount is None:
        return NOTHING
    value = Decimal(amount)
    if value == 0:
        return "$0"
    places = 2 if abs(value) >= 100 else 4 if abs(value) >= Decimal("0.01") else 6
    return f"${value:,.{places}f}"


def gate_value(result: GateResult) -> str:
    """What was measured against the limit."""
    slo = result.slo
    if result.value is None:
        return f"n<{minimum_n(slo.quantile)}" if slo.quantile is not None and result.n else NOTHING
    if slo.metric == "interactivity":
        return f"{_three(result.value)} tokens/s"
    if slo.is_rate:
        return f"{_three(result.value)} /s"
    if slo.metric in ("error_rate", "goodput"):
        return share(result.value)
    return duration(result.value)


def measured_name(slo: Slo) -> str:
    """ "p99", "share" or "rate": what a gate's value is."""
    if slo.quantile is not None:
        return f"p{100 * slo.quantile:g}"
    return "rate" if slo.is_rate else "share"


def of_tasks(one: TaskSummary) -> tuple[str, ...]:
    """Share finished, times of the median and the slow, the model's part of it, calls, dollars."""
    return (
        share(one.finished_share),
        percentile(one.time_s, "p50"),
        percentile(one.time_s, "p95"),
        percentile(one.model_time_s, "p50"),
        rate(one.calls_mean),
        dollars(one.usd_per_finished_task),
    )


def _three(value: float) -> str:
    if value == 0:
        return "0"
    digits = max(2 - math.floor(math.log10(abs(value))), 0)
    return f"{value:,.{min(digits, 6)}f}"
