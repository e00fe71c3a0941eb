"""Whether a run measured what it says. Each reason against it is one line; none = VALID.

A run is INVALID by the load generator's own faults only: a slow or failing server makes a bad result, not an
invalid one.
"""

from collections.abc import Sequence

import numpy as np

from servebench.meter.record import Outcome
from servebench.results.columns import OUTCOMES, Columns
from servebench.results.facts import RunFacts
from servebench.results.percentiles import nearest_rank
from servebench.results.steady_state import Window

LAG_FLOOR_S = 0.010
LAG_SHARE_OF_TTFT = 0.01
MIN_SENT_SHARE = 0.99
MAX_CPU_RATIO = 0.9  # of a core: past it the loop has no room to catch up
MAX_LOOP_LAG_S = 0.100
MAX_COALESCED_SHARE = 0.01
MAX_LITTLE_ERROR = 0.005


def invalid_reasons(
    columns: Columns,
    *,
    inside: Columns,
    window: Window,
    facts: RunFacts,
    ttft_limit_s: float | None = None,
    torn: int = 0,
    little_error: float | None = None,
) -> list[str]:
    """columns: the whole run; inside: of the window. ttft_limit_s: the tightest asked for. torn: record
    lines that were cut off.
    """
    reasons = [*_samples(columns, window, facts), *_arrivals(columns, facts), *facts.missing]
    if torn:
        reasons.append(f"{torn} record{'s were' if torn > 1 else ' was'} cut off as the run was killed")
    reasons += _lag(inside, ttft_limit_s)
    chunks, coalesced = (float(columns.numbers[name].sum()) for name in ("chunks", "coalesced"))
    if chunks and coalesced / chunks > MAX_COALESCED_SHARE:
        reasons.append(
            f"{coalesced / chunks:.1%} of the chunks shared a read with another (at most "
            f"{MAX_COALESCED_SHARE:.0%}): their gaps are not measured"
        )
    if facts.cpu_ratio is not None and facts.cpu_ratio > MAX_CPU_RATIO:
        reasons.append(
            f"a load-generating process used {facts.cpu_ratio:.0%} of a core (at most {MAX_CPU_RATIO:.0%}); "
            "use more --processes"
        )
    if facts.loop_lag_s is not None and facts.loop_lag_s > MAX_LOOP_LAG_S:
        reasons.append(
            f"the load generator's loop came {facts.loop_lag_s * 1e3:.0f} ms late to its data (p99; "
            f"at most {MAX_LOOP_LAG_S * 1e3:.0f} ms)"
        )
    if little_error is not None and abs(little_error) > MAX_LITTLE_ERROR:
        reasons.append(
            f"requests in flight, counted, differ by {little_error:+.2%} from arrivals times residence: "
            "the telemetry is broken"
        )
    return reasons


def _samples(columns: Columns, window: Window, facts: RunFacts) -> list[str]:
    if not len(columns):
        return ["no request was recorded"]
    if window.duration_s <= 0:
        return [f"the run ended within its warm-up of {facts.warmup_s:g} s: nothing was measured"]
    if not window.contains(columns.numbers["intended_ns"]).any():
        return ["no request falls into the measured window"]
    return []


def _arrivals(columns: Columns, facts: RunFacts) -> list[str]:
    """Arrivals of the plan that were not sent, or left no record."""
    reasons = []
    offered = len(columns)
    if facts.planned_requests is not None and not facts.interrupted and not facts.stopped_by_budget:
        unknown = facts.planned_requests - offered
        if unknown > 0:
            reasons.append(f"{unknown} of {facts.planned_requests} planned requests left no record")
    counts = dict(zip(OUTCOMES, np.bincount(columns.outcome, minlength=len(OUTCOMES)).tolist(), strict=True))
    for outcome, what in (
        (Outcome.UNSENT, "were never sent"),
        (Outcome.SHED, "were refused by the load generator itself (in-flight cap or budget)"),
    ):
        if counts[outcome]:
            reasons.append(f"{counts[outcome]} of {offered} requests {what}")
    sent = int(np.count_nonzero(~np.isnan(columns.numbers["sent_ns"])))
    planned = max(facts.planned_requests or 0, offered) if not reasons else offered
    if planned and not reasons and sent / planned < MIN_SENT_SHARE:
        reasons.append(f"only {sent} of {planned} requests reached the wire (at least {MIN_SENT_SHARE:.0%})")
    return reasons


def _lag(window_columns: Columns, ttft_limit_s: float | None) -> list[str]:
    lag = window_columns.latency_s("client_lag")
    lag = np.sort(lag[~np.isnan(lag)])
    if not len(lag):
        return []
    limit_s = max(LAG_FLOOR_S, LAG_SHARE_OF_TTFT * (ttft_limit_s or 0.0))
    # with under 100 requests the nearest rank is the largest
    p99_s = nearest_rank(lag, 0.99)
    if p99_s <= limit_s:
        return []
    return [
        f"requests left {p99_s * 1e3:.1f} ms late (p99 of {len(lag)}; at most {limit_s * 1e3:.0f} ms): "
        "the load generator did not keep its schedule"
    ]


def warnings(columns: Columns, slos_without_samples: Sequence[str] = ()) -> list[str]:
    """What a reader should know of a run that is valid all the same."""
    lines = [f'no sample for the objective "{text}"' for text in slos_without_samples]
    missing = int(columns.numbers["user_stamps"].sum())
    if missing:
        lines.append(
            f"{missing} chunks carry the process's stamp, not the kernel's: their times include its lag"
        )
    counted = int(columns.counted.sum())
    if counted:
        lines.append(
            f"{counted} requests brought no usage: their tokens are counted from chunks, about one each"
        )
    lost = int(np.count_nonzero(columns.ok & (columns.numbers["chunks"] == 0)))
    if lost:
        lines.append(f"{lost} successes streamed no content")
    return lines
