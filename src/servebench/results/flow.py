"""Flow: how the run went over time: was it steady, what came out of it, did it saturate, does Little's law
hold.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from servebench.results.chunk_times import ChunkTimes
from servebench.results.columns import Columns
from servebench.results.facts import RunFacts
from servebench.results.load_series import LoadSeries
from servebench.results.saturation import Saturation, Slope, saturation
from servebench.results.steady_state import Steadiness, Window
from servebench.results.throughput import Throughput, batch_means

_LATE_SHARE = 0.1  # of the run: a cut that much later than the warm-up is worth a word


@dataclass(frozen=True, slots=True)
class Little:
    """Mean requests under way in the window = arrivals a second * mean residence, both clipped to it.

    A residence is from the intended start to the end. counted: the mean as the load generator counted it,
    apart from the records; seen: by looking at its loop now and then, which knows no request's times.
    """

    arrivals_rps: float
    mean_residence_s: float
    counted: float
    seen: float | None

    @property
    def expected(self) -> float:
        return self.arrivals_rps * self.mean_residence_s

    @property
    def error(self) -> float | None:
        """counted / expected - 1; None where nothing is expected."""
        return self.counted / self.expected - 1 if self.expected > 0 else None

    @classmethod
    def of(cls, columns: Columns, window: Window, facts: RunFacts) -> "Little | None":
        """None where nobody counted."""
        counted = facts.mean_in_flight
        if counted is None or window.duration_s <= 0:
            return None
        at = columns.numbers
        inside_s = window.overlap_s(at["intended_ns"], at["end_ns"])
        n = int(np.count_nonzero(inside_s > 0))
        return cls(
            n / window.duration_s, float(inside_s.sum()) / n if n else 0.0, counted, facts.mean_in_flight_seen
        )


@dataclass(frozen=True, slots=True)
class Flow:
    """Parts that can't be told are None. output_tokens: a second, in the window, by the time of emission."""

    steadiness: Steadiness | None
    output_tokens: Throughput | None
    saturation: Saturation | None
    little: Little | None

    @classmethod
    def of(cls, columns: Columns, chunks: ChunkTimes, *, window: Window, facts: RunFacts) -> "Flow":
        series = LoadSeries.of(columns, chunks, window)
        little = Little.of(columns, window, facts)
        if series is None:
            return cls(None, None, None, little)
        return cls(
            series.steadiness(),
            batch_means(series.tokens_per_s[series.inside]),
            saturation(columns, window) if facts.mode == "open" else None,
            little,
        )

    @property
    def saturated(self) -> bool:
        return self.saturation is not None and self.saturation.saturated

    def warnings(self, facts: RunFacts) -> list[str]:
        """What a reader must know, a line each."""
        lines = []
        found, steady = self.saturation, self.steadiness
        if found is not None and found.saturated:
            lines.append(
                f"SATURATED: from {found.start_s:.0f} s to {found.end_s:.0f} s requests in flight rose by "
                f"{found.in_flight.per_s:+.3g}/s and TTFT with them; the target can't carry this rate"
            )
        if steady is not None and not facts.varying and steady.largest_s is not None:
            largest_s = steady.largest_s
            if not steady.steady:
                lines.append(
                    f"not steady: by MSER-5 the run settled only after {largest_s:.3g} s of "
                    f"{steady.run_s:.3g} s"
                )
            elif largest_s > facts.warmup_s + _LATE_SHARE * steady.run_s:
                lines.append(
                    f"by MSER-5 the run settled after {largest_s:.3g} s, beyond its warm-up of "
                    f"{facts.warmup_s:g} s: its start is in the figures (--warmup {largest_s:.0f})"
                )
        return lines

    def to_json(self) -> dict[str, Any]:
        """Four keys of summary.json; null = can't be told."""
        steady, tokens, found, little = self.steadiness, self.output_tokens, self.saturation, self.little
        return {
            "steady_state": None if steady is None else {
                "steady": steady.steady, "mser5_cut_s": steady.cut_s, "largest_cut_s": steady.largest_s,
            },
            "output_tokens_per_s": None if tokens is None else {
                "mean": tokens.mean,
                "ci95": None if tokens.low is None else [tokens.low, tokens.high],
                "batches": tokens.batches,
                "lag1_correlation": tokens.lag1,
            },
            "saturation": None if found is None else {
                "saturated": found.saturated,
                "over_s": [found.start_s, found.end_s],
                "in_flight_per_s": _slope_json(found.in_flight),
                "ttft_s_per_s": None if found.ttft is None else _slope_json(found.ttft),
            },
            "little": None if little is None else {
                "arrivals_rps": little.arrivals_rps, "mean_residence_s": little.mean_residence_s,
                "in_flight_expected": little.expected, "in_flight_counted": little.counted,
                "in_flight_seen": little.seen, "error": little.error,
            },
        }  # fmt: skip


def _slope_json(slope: Slope) -> dict[str, float]:
    return {"slope": slope.per_s, "at_least": slope.low_per_s, "rise": slope.rise}
