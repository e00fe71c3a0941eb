"""Objectives judged on a simulated run: verdicts by an exact binomial test, never by a bare percentile.

With t of n requests over the limit, an objective "p99" passes where so few would be over by chance in at
most 1 % of runs if the true share were just 1 %: P(X <= t) <= 0.01 for X ~ Binomial(n, 0.01). It fails where
P(X >= t) <= 0.01, and is inconclusive between (MLPerf's early stopping, c = 0.99).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import linregress

from servebench.errors import UsageError
from servebench.plan.simulated import SimulationResult
from servebench.results.gate import Verdict, fails, minimum_n, passes
from servebench.results.slo import Slo

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

METRICS = ("ttft", "service_ttft", "tpot", "e2e", "interactivity")
_BATCHES = 20
_OVERLOAD = 0.005  # of the run: a wait that rises by less than that is no overload to speak of


@dataclass(frozen=True, slots=True)
class Check:
    """One objective on one run. observed: the nearest-rank percentile it is about; over of n missed the
    limit.

    limit is the mean limit where it grows with the prompt.
    """

    slo: Slo
    verdict: Verdict
    observed: float
    limit: float
    n: int
    over: int

    @property
    def sentence(self) -> str:
        slo, unit = self.slo, "tokens/s" if self.slo.metric == "interactivity" else "s"
        assert slo.quantile is not None  # judged() took it
        name = f"{slo.class_name}: " * (slo.class_name is not None) + slo.metric
        beyond = self.observed / self.limit - 1 if slo.at_most else 1 - self.observed / self.limit
        sides = ("over", "within") if slo.at_most else ("under", "within")
        gap = f"{abs(beyond):.0%} {sides[beyond <= 0]}" if np.isfinite(beyond) else "without end,"
        return (
            f"{name} p{slo.quantile * 100:g} is {self.observed:.4g} {unit}, {gap} the limit of "
            f"{self.limit:.4g} {unit} ({self.over:,} of {self.n:,} requests miss it)"
        )


def judges(slo: Slo) -> bool:
    """Whether a simulation can tell."""
    return slo.metric in METRICS and slo.quantile is not None


def judged(slos: Sequence[Slo]) -> tuple[Slo, ...]:
    """The objectives, all of which a simulation can judge; else UsageError with each one that it can't."""
    problems = [
        f'SLO "{slo.text}": a plan judges {", ".join(METRICS)} at a percentile, not {slo.metric}'
        for slo in slos
        if not judges(slo)
    ]
    if not slos:
        problems.append("no SLO to plan for: without a limit one replica serves any rate")
    if problems:
        raise UsageError(*problems)
    return tuple(slos)


def gate(over: int, n: int, quantile: float) -> Verdict:
    """The verdict for `over` misses among n, where a share of at most 1 - quantile may miss."""
    if passes(over, n, quantile):
        return Verdict.PASS
    return Verdict.FAIL if fails(over, n, quantile) else Verdict.INCONCLUSIVE


def samples_needed(slos: Sequence[Slo], misses: int = 5) -> int:
    """Requests with which every objective passes in spite of this many misses: 1,307 for a p99 and 5."""
    return minimum_n(misses, max(slo.quantile for slo in slos if slo.quantile is not None))


def check(
    slo: Slo,
    result: SimulationResult,
    *,
    class_index: NDArray[np.int64],
    class_names: tuple[str, ...],
) -> Check:
    """Judges one objective on the rows to measure. class_index: of every row of the result."""
    rows = result.measured.copy()
    if slo.class_name is not None:
        rows &= class_index == class_names.index(slo.class_name)
    values = _values(slo.metric, result)[rows]
    limits = slo.limit + slo.limit_s_per_prompt_token * result.prompt_tokens[rows]
    defined = ~np.isnan(values)
    values, limits = values[defined], limits[defined]
    if slo.at_most:
        missed = values >= limits if slo.strict else values > limits
    else:
        missed = values <= limits if slo.strict else values < limits
    over, n = int(missed.sum()), len(values)
    assert slo.quantile is not None  # judged() took it
    observed = nearest_rank(values, slo.quantile if slo.at_most else 1 - slo.quantile)
    limit = float(limits.mean()) if n and slo.limit_s_per_prompt_token else slo.limit
    return Check(slo, gate(over, n, slo.quantile), observed, limit, n, over)


def nearest_rank(values: Floats, quantile: float) -> float:
    """A value that some request really had; NaN of no values."""
    if not len(values):
        return float("nan")
    rank = max(1, int(np.ceil(round(quantile * len(values), 9))))
    return float(np.partition(values, rank - 1)[rank - 1])


def queue_grows(result: SimulationResult) -> bool:
    """Whether the wait for admission rises through the run, as it must where more comes than is served: the
    slope of 20 batch means is above 0 with 99 % confidence, and the rise more than the mean and 0.5 % of the
    run. A queue that grows has no percentiles, whatever the limits say."""
    waits = result.wait_s[result.measured]
    waits = waits[np.isfinite(waits)]
    if len(waits) < 2 * _BATCHES:
        return False
    batches = np.array([batch.mean() for batch in np.array_split(waits, _BATCHES)])
    if batches.max() == batches.min():
        return False
    fit = linregress(np.arange(_BATCHES), batches, alternative="greater")
    rise_s = fit.slope * _BATCHES
    return bool(fit.pvalue < 0.01 and rise_s > max(batches.mean(), _OVERLOAD * result.window_s))


def _values(metric: str, result: SimulationResult) -> Floats:
    if metric in ("ttft", "service_ttft"):  # a simulated client sends on time
        return result.ttft_s
    if metric == "e2e":
        return result.e2e_s
    if metric == "tpot":
        return result.tpot_s
    with np.errstate(divide="ignore"):
        return np.asarray(1.0 / result.tpot_s)
