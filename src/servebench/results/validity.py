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
SURE = 0.99
MAX_CPU_RATIO = 0.9  # of a core: past it the loop has no room to catch up
MAX_LOOP_LAG_S = 0.100
MAX_COALESCED_SHARE = 0.01
MAX_CLOCK_UNCERTAINTY_S = LAG_FLOOR_S
MAX_CLOCK_STEP_S = 0.001  # less is slewing, or the measurement's own noise on a busy machine
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
    # what its money kept a run from sending came after the window, which ends where it began
    arrivals = inside if facts.stopped_by_budget else columns
    reasons = [*_samples(columns, window, facts), *_arrivals(arrivals, facts), *facts.missing]
    if facts.recorded > len(columns):
        lost = facts.recorded - len(columns)
        reasons.append(f"{lost} of {facts.recorded} requests that the workers recorded are not on disk")
    if torn:
        reasons.append(f"{torn} record{'s were' if torn > 1 else ' was'} cut off as the run was killed")
    reasons += _lag(inside, ttft_limit_s)
    reasons += _sent_in_time(inside, window)
    reasons += _stamps(columns, facts)
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
    if facts.loop_stall_s is not None and facts.loop_stall_s > MAX_LOOP_LAG_S:
        reasons.append(
            f"the load generator's loop stood still for {facts.loop_stall_s * 1e3:.0f} ms (p99; at most "
            f"{MAX_LOOP_LAG_S * 1e3:.0f} ms)"
        )
    if facts.clock_uncertainty_s is not None and facts.clock_uncertainty_s > MAX_CLOCK_UNCERTAINTY_S:
        reasons.append(
            f"a worker's clock is known to ±{facts.clock_uncertainty_s * 1e3:.1f} ms only (at most "
            f"{MAX_CLOCK_UNCERTAINTY_S * 1e3:.0f} ms): its arrivals are that far off the schedule"
        )
    if facts.clock_step_s is not None and facts.clock_step_s > MAX_CLOCK_STEP_S:
        reasons.append(
            f"a host's clock was set by {facts.clock_step_s:.3g} s in the run: the kernel's stamps of up to "
            "a second are off by as much"
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
        (Outcome.SHED, "were refused by the load generator itself (budget, credits or --on-429 drop)"),
    ):
        if counts[outcome]:
            reasons.append(f"{counts[outcome]} of {offered} requests {what}")
    sent = int(np.count_nonzero(~np.isnan(columns.numbers["sent_ns"])))
    whole = not reasons and not facts.stopped_by_budget
    planned = max(facts.planned_requests or 0, offered) if whole else offered
    if planned and not reasons and sent / planned < MIN_SENT_SHARE:
        reasons.append(f"only {sent} of {planned} requests reached the wire (at least {MIN_SENT_SHARE:.0%})")
    return reasons


def _sent_in_time(inside: Columns, window: Window) -> list[str]:
    """Achieved over offered rate: of the window's arrivals, those sent before it was over."""
    offered = len(inside)
    sent_ns = inside.numbers["sent_ns"]
    achieved = int(np.count_nonzero(sent_ns < window.end_ns + LAG_FLOOR_S * 1e9))
    never = int(np.count_nonzero(np.isnan(sent_ns)))  # counted elsewhere
    if not offered or (achieved + never) / offered >= MIN_SENT_SHARE:
        return []
    return [
        f"only {achieved} of {offered} requests of the measured window were sent within it (at least "
        f"{MIN_SENT_SHARE:.0%}): the offered rate was not achieved"
    ]


def _stamps(columns: Columns, facts: RunFacts) -> list[str]:
    """Chunks whose own time is not known."""
    reasons = []
    chunks, coalesced = (int(columns.numbers[name].sum()) for name in ("chunks", "coalesced"))
    if surely_over(coalesced, chunks, MAX_COALESCED_SHARE):
        reasons.append(
            f"{coalesced / chunks:.1%} of the chunks shared a read with another (at most "
            f"{MAX_COALESCED_SHARE:.0%}): their gaps are not measured"
        )
    if facts.missing_stamps:
        reasons.append(
            f"{facts.missing_stamps} reads came without the kernel's stamp: their times include the load "
            "generator's lag"
        )
    return reasons


def surely_over(found: int, of: int, share: float) -> bool:
    """Whether so many would be chance in less than one case of a hundred if the true share were `share`: of a
    few hundred chunks, one stall can make up more than a hundredth.
    """
    from scipy.special import bdtrc  # scipy.stats has it too, and takes a second to import

    return found / of > share and float(bdtrc(found - 1, of, share)) < 1 - SURE if of else False


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
    chunks, coalesced = (int(columns.numbers[name].sum()) for name in ("chunks", "coalesced"))
    if chunks and coalesced / chunks > MAX_COALESCED_SHARE:
        lines.append(
            f"{coalesced} of {chunks} chunks shared a read with another: the load generator came when "
            "the next was there, and the gaps between them are not measured"
        )
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
