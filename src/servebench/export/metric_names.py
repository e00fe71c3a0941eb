"""The names under which a run is shown: one table, for the exporter, the dashboards and the rules.

Base units, `_total` on counters; every series carries RUN_LABELS as well. No request id, URL, text or key is
ever a label.
"""

from dataclasses import dataclass
from typing import Literal

RUN_LABELS = ("run_id", "scenario", "model", "target")
OTHER = "_other"  # a label value past its limit
MAX_VALUES = 20  # of one open label (slo, reason) in a run
MAX_LABEL_CHARS = 80
MAX_SERIES = 2_000
MAX_HISTOGRAM_CHILDREN = 40

TOKEN_TYPES = ("input", "cached_input", "output", "reasoning")
TOKEN_SOURCES = ("usage", "counted")
COST_COMPONENTS = ("input", "cached_input", "output", "reasoning", "tool", "retry")
PHASES = ("starting", "warmup", "steady", "cooldown", "drain", "finished")


@dataclass(frozen=True, slots=True)
class Metric:
    """One family. labels are those beside RUN_LABELS; a counter's name ends in _total."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()

    @property
    def series_names(self) -> tuple[str, ...]:
        """The names a query can use."""
        if self.kind == "histogram":
            return (f"{self.name}_bucket", f"{self.name}_sum", f"{self.name}_count")
        return (self.name,)


REQUESTS = Metric(
    "servebench_requests_total",
    "counter",
    "Requests by outcome; the sum over outcomes is offered.",
    ("outcome",),
)
TOKENS = Metric(
    "servebench_tokens_total",
    "counter",
    "Tokens by disjoint type; source usage = the server's count, counted = from chunks.",
    ("type", "source"),
)
COST = Metric("servebench_cost_usd_total", "counter", "API bill in USD by component.", ("component",))
SLO_GOOD = Metric("servebench_slo_good_total", "counter", "Requests that met the SLO.", ("slo",))
SLO_OFFERED = Metric(
    "servebench_slo_offered_total", "counter", "Requests that the SLO judges: all offered.", ("slo",)
)
RETRIES = Metric("servebench_retries_total", "counter", "Requests sent again, by reason.", ("reason",))
THROTTLED = Metric(
    "servebench_throttled_seconds_total",
    "counter",
    "Time spent waiting before a retry, by reason.",
    ("reason",),
)
LABEL_OVERFLOW = Metric(
    "servebench_label_overflow_total",
    "counter",
    "Updates whose label value was folded into _other.",
    ("label",),
)
COUNTERS = (REQUESTS, TOKENS, COST, SLO_GOOD, SLO_OFFERED, RETRIES, THROTTLED, LABEL_OVERFLOW)

# key of an update's "gauges" -> family
GAUGES = {
    "in_flight": Metric("servebench_requests_in_flight", "gauge", "Requests sent and not yet ended."),
    "users": Metric("servebench_users", "gauge", "Users of a closed loop; 0 in an open loop."),
    "offered_rate_rps": Metric("servebench_offered_rate_rps", "gauge", "Arrivals a second, as planned."),
    "achieved_rate_rps": Metric(
        "servebench_achieved_rate_rps", "gauge", "Requests ended a second, as measured."
    ),
    "budget_usd": Metric("servebench_budget_usd", "gauge", "The run's budget; 0 = none set."),
    "budget_spent_usd": Metric(
        "servebench_budget_spent_usd", "gauge", "Settled bills, as the workers last said; 0 without a budget."
    ),
    "budget_reserved_usd": Metric(
        "servebench_budget_reserved_usd",
        "gauge",
        "Bounds of what is in flight, and of bills that never came; 0 without a budget.",
    ),
    "client_cpu_ratio": Metric(
        "servebench_client_cpu_ratio", "gauge", "CPU of the busiest load-generating process, in cores."
    ),
}

# key of LiveStats' histograms -> family
LATENCIES = {
    "ttft": Metric(
        "servebench_ttft_seconds", "histogram", "Time to the first token, from the intended start."
    ),
    "ttfvt": Metric(
        "servebench_ttfvt_seconds", "histogram", "Time to the first visible token, from the intended start."
    ),
    "itl": Metric("servebench_itl_seconds", "histogram", "Gap between successive content chunks."),
    "tpot": Metric(
        "servebench_tpot_seconds", "histogram", "(last token - first token)/(tokens - 1) of a request."
    ),
    "e2e": Metric("servebench_e2e_seconds", "histogram", "Intended start to the last token."),
    "client_lag": Metric(
        "servebench_client_lag_seconds",
        "histogram",
        "Intended start to the send: the load generator's own delay.",
    ),
}
LOOP_STALL = Metric(
    "servebench_loop_stall_seconds",
    "histogram",
    "How late the load generator's event loop came to its timer.",
)
RUN_INFO = Metric("servebench_run_info", "gauge", "1; facts of the run.", ("version", "seed", "price_date"))
PHASE_INFO = Metric(
    "servebench_phase_info", "gauge", "1 for the phase the run is in, 0 for the others.", ("phase",)
)

METRICS = (*COUNTERS, *GAUGES.values(), *LATENCIES.values(), LOOP_STALL, RUN_INFO, PHASE_INFO)
