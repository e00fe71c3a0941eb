"""Two more opinions on one replica's capacity, by queueing formulas instead of a simulation.

**A birth-death chain.** State n: calls in the replica, of which n' = min(n, places) run, places being
min(max_num_seqs, KV pool / a call's KV at its end):

    mu(n) = n'/S(n')          S(b) = prefill + (OSL - 1) tpot(b)       tpot(b): steady batch with its prefill
    pi(n) proportional to prod lambda / mu(k)

Past the places each state is rho = lambda/mu times the one before, without end. An arrival sees pi (PASTA).
At the quantile q of an objective it meets n_q calls and is one more: TPOT is that of this batch, TTFT the
floor, its own prefill, and (n_q + 1 - places)/mu of waiting where no place is free. Burstier arrivals widen n
about its mean by sqrt((Ca^2 + 1)/2).

**Erlang C** (erlang.py) with the correction of Allen and Cunneen: c equal servers. An objective on TTFT has
all places as servers, and judges the wait; one on TPOT has as many as keep it, and is missed by the arrivals
that find them all busy. Bursts and the spread of lengths (Cs: that of the outputs) lengthen waits only.

Both know mean lengths and steady batches, where the simulation knows each request; the chain knows that a
small batch is faster, Erlang C does not.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from servebench.engine.step_time import StepTimeModel
from servebench.plan.batches import JUDGED, Batches, Floats
from servebench.plan.erlang import erlang_c, wait_quantile_s
from servebench.plan.slo_point import Lengths
from servebench.results.slo import Slo

FAR_APART = 0.25
CHAIN, ERLANG_C = "a birth-death chain", "Erlang C with Allen and Cunneen"
_LOWEST_SHARE = 1e-3  # of the simulated capacity
_HALVINGS = 40


@dataclass(frozen=True, slots=True)
class Opinion:
    """calls_per_s by this formula. apart: over the simulated capacity, less 1."""

    name: str
    calls_per_s: float
    apart: float

    @property
    def agrees(self) -> bool:
        return abs(self.apart) <= FAR_APART

    @property
    def sentence(self) -> str:
        said = f"{self.name} gives {self.calls_per_s:.3g} calls/s a replica, {self.apart:+.0%}"
        return said if self.agrees else f"{said}: over {FAR_APART:.0%} apart, so look at what binds"


def cross_checks(
    model: StepTimeModel,
    lengths: Lengths,
    slos: Sequence[Slo],
    *,
    arrival_cv: float,
    output_cv: float,
    simulated_rps: float,
) -> tuple[Opinion, ...]:
    """simulated_rps: calls per second; output_cv: spread of their output tokens. An opinion is missing where
    its formula meets the objectives at no rate; all are where there is one that they can't judge.
    """
    if simulated_rps <= 0 or not slos or any(s.metric not in JUDGED or s.quantile is None for s in slos):
        return ()
    batches = Batches.of(model, lengths)
    if not batches.places:
        return ()
    chain, low = Chain(batches), simulated_rps * _LOWEST_SHARE

    def by_chain(rps: float) -> bool:
        return chain.meets(slos, rps, arrival_cv)

    def by_erlang_c(rps: float) -> bool:
        return erlang_c_meets(batches, slos, rps, arrival_cv=arrival_cv, service_cv=output_cv)

    found = {
        CHAIN: _highest(by_chain, low, float(chain.mu.max())),
        ERLANG_C: _highest(by_erlang_c, low, float(chain.mu.max())),
    }
    return tuple(Opinion(name, rps, rps / simulated_rps - 1) for name, rps in found.items() if rps > 0)


def _highest(meets: Callable[[float], bool], low: float, high: float) -> float:
    """Bisection of the logarithm; 0 where not even `low` does."""
    if not meets(low):
        return 0.0
    for _ in range(_HALVINGS):
        middle = (low * high) ** 0.5
        if meets(middle):
            low = middle
        else:
            high = middle
    return low


def erlang_c_meets(
    batches: Batches, slos: Sequence[Slo], rps: float, *, arrival_cv: float, service_cv: float
) -> bool:
    """Whether every objective is kept at this rate, by Erlang C."""
    for slo in slos:
        assert slo.quantile is not None  # cross_checks() looked
        if slo.metric in ("tpot", "interactivity"):
            kept = [batch for batch in range(1, batches.places + 1) if batches.keeps_tpot(slo, batch)]
            if not kept:
                return False
            servers = max(kept)
            if erlang_c(servers, rps * float(batches.service_s[servers - 1])) > 1 - slo.quantile:
                return False
            continue
        wait_s = wait_quantile_s(
            slo.quantile,
            servers=batches.places,
            rate_rps=rps,
            service_s=float(batches.service_s[-1]),
            arrival_cv=arrival_cv,
            service_cv=service_cv,
        )
        if not batches.keeps_ttft(slo, batches.places, wait_s):
            return False
    return True


class Chain:
    """mu: of the states from 1 to the number of places."""

    def __init__(self, batches: Batches) -> None:
        self._batches = batches
        self.mu: Floats = np.arange(1, batches.places + 1) / batches.service_s

    def states(self, rps: float) -> Floats:
        """pi(0..places): probabilities of so many calls in the replica. rps: below mu(places)."""
        logs = np.concatenate([[0.0], np.cumsum(np.log(rps / self.mu))])
        weights = np.exp(logs - logs.max())
        rho = rps / float(self.mu[-1])
        pi: Floats = weights / (weights.sum() + weights[-1] * rho / (1 - rho))
        return pi

    def mean_and_quantiles(self, rps: float, shares: Sequence[float]) -> tuple[float, list[float]]:
        """Calls in the replica; how many are not passed in these shares of the time."""
        pi, rho, places = self.states(rps), rps / float(self.mu[-1]), len(self.mu)
        below, waiting = np.cumsum(pi), float(pi[-1]) * rho / (1 - rho)
        mean = float((pi * np.arange(places + 1)).sum()) + waiting * (places + 1 / (1 - rho))

        def quantile(share: float) -> float:
            if below[-1] >= share:
                return float(np.searchsorted(below, share))
            return places + float(np.ceil(np.log((1 - share) / waiting) / np.log(rho)))

        return mean, [quantile(share) for share in shares]

    def meets(self, slos: Sequence[Slo], rps: float, arrival_cv: float) -> bool:
        if rps >= self.mu[-1]:
            return False
        mean, met = self.mean_and_quantiles(rps, [slo.quantile or 0.0 for slo in slos])
        widened = ((arrival_cv**2 + 1) / 2) ** 0.5
        return all(
            self._keeps(slo, mean + max(n - mean, 0.0) * widened) for slo, n in zip(slos, met, strict=True)
        )

    def _keeps(self, slo: Slo, n: float) -> bool:
        """n: calls that an arrival meets."""
        places = self._batches.places
        running = min(round(n) + 1, places)
        if slo.metric in ("tpot", "interactivity"):
            return self._batches.keeps_tpot(slo, running)
        return self._batches.keeps_ttft(slo, running, max(0.0, n + 1 - places) / float(self.mu[-1]))
