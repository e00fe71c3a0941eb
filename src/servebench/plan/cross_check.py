"""A second opinion on one replica's capacity, by a birth-death chain instead of a simulation.

State n: calls in the replica, of which n' = min(n, max_num_seqs, KV pool / mean KV) run.

    mu(n) = n' / (prefill + (OSL - 1) tpot(n'))        tpot(n'): steady batch with its share of prefill
    pi(n) proportional to prod lambda / mu(k)

An arrival sees pi (PASTA). At the quantile q of an objective it meets n_q calls: TPOT is that of the batch,
TTFT the floor and its own prefill, and (n_q - n'_max)/mu of waiting where no place is free. Burstier arrivals
widen n about its mean by sqrt((Ca^2 + 1)/2), after Allen and Cunneen. It knows mean lengths only, where the
simulation knows their spread.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servebench.engine.step_time import StepTimeModel
from servebench.plan.slo_point import Lengths
from servebench.plan.steady_state import steady_state
from servebench.results.slo import Slo

Floats = NDArray[np.float64]
FAR_APART = 0.25
_JUDGED = ("ttft", "service_ttft", "tpot", "interactivity")
_QUEUE = 3  # states up to so many times the places


@dataclass(frozen=True, slots=True)
class CrossCheck:
    """chain_rps: calls per second by the chain. apart: its capacity over the simulated one, less 1."""

    chain_rps: float
    apart: float

    @property
    def agrees(self) -> bool:
        return abs(self.apart) <= FAR_APART

    @property
    def sentence(self) -> str:
        said = f"a birth-death chain gives {self.chain_rps:.3g} calls/s a replica, {self.apart:+.0%}"
        return said if self.agrees else f"{said}: over {FAR_APART:.0%} apart, so look at what binds"


def cross_check(
    model: StepTimeModel, lengths: Lengths, slos: Sequence[Slo], *, arrival_cv: float, simulated_rps: float
) -> CrossCheck | None:
    """simulated_rps: calls per second. None where the chain can't judge an objective, or none is met."""
    judged = [slo for slo in slos if slo.metric in _JUDGED and slo.quantile is not None]
    if not judged or simulated_rps <= 0 or len(judged) < len(slos):
        return None
    chain = _Chain(model, lengths)
    if not chain.places or not chain.meets(judged, simulated_rps * 1e-3, arrival_cv):
        return None
    low, high = simulated_rps * 1e-3, chain.most_rps
    for _ in range(40):
        middle = (low * high) ** 0.5
        if chain.meets(judged, middle, arrival_cv):
            low = middle
        else:
            high = middle
    return CrossCheck(low, low / simulated_rps - 1)


class _Chain:
    def __init__(self, model: StepTimeModel, lengths: Lengths) -> None:
        serving = model.serving
        self._floor_s = serving.ttft_floor_s
        self._prompt_tokens = lengths.prompt_tokens
        fresh = lengths.prompt_tokens - lengths.cached_tokens
        pool = int(model.kv_pool_tokens() / (lengths.prompt_tokens + lengths.output_tokens))
        tpot_s, prefill_s = [], []
        for batch in range(1, min(serving.max_num_seqs, pool) + 1):
            try:
                state = steady_state(
                    model,
                    batch,
                    prompt_tokens=lengths.prompt_tokens,
                    output_tokens=max(lengths.output_tokens, 2.0),
                    cached_tokens=lengths.cached_tokens,
                )
            except ValueError:  # more prompts a step than it may hold
                break
            tpot_s.append(state.tpot_s)
            step = model.step(
                batch,
                int(batch * (lengths.prompt_tokens + lengths.output_tokens / 2)),
                prefill_tokens=round(fresh),
                prefill_pairs=fresh * (lengths.prompt_tokens + lengths.cached_tokens) / 2,
            )
            prefill_s.append(step.total_s)
        self.places = len(tpot_s)
        self._tpot_s, self._prefill_s = np.array(tpot_s), np.array(prefill_s)
        batches = np.arange(1, self.places + 1)
        self._mu = batches / (self._prefill_s + max(lengths.output_tokens - 1, 1) * self._tpot_s)

    @property
    def most_rps(self) -> float:
        return float(self._mu.max())

    def states(self, rps: float) -> Floats:
        """pi(0..): probabilities of so many calls in the replica."""
        mu = np.concatenate([self._mu, np.full(_QUEUE * self.places, self._mu[-1])])
        logs = np.concatenate([[0.0], np.cumsum(np.log(rps / mu))])
        weights = np.exp(logs - logs.max())
        pi: Floats = weights / weights.sum()
        return pi

    def meets(self, slos: Sequence[Slo], rps: float, arrival_cv: float) -> bool:
        if rps >= self._mu[-1]:
            return False
        pi = self.states(rps)
        counts = np.arange(len(pi))
        mean = float((pi * counts).sum())
        widened = ((arrival_cv**2 + 1) / 2) ** 0.5
        for slo in slos:
            assert slo.quantile is not None
            n = float(np.searchsorted(np.cumsum(pi), slo.quantile))
            n = mean + max(n - mean, 0.0) * widened
            if not self._within(slo, n):
                return False
        return True

    def _within(self, slo: Slo, n: float) -> bool:
        running = min(max(round(n), 1), self.places)
        if slo.metric == "interactivity":
            return bool(1 / self._tpot_s[running - 1] >= slo.limit)
        if slo.metric == "tpot":
            return bool(self._tpot_s[running - 1] <= slo.limit)
        waiting_s = max(0.0, n - self.places) / self._mu[-1]
        ttft_s = self._floor_s + self._prefill_s[running - 1] + waiting_s
        return bool(ttft_s <= slo.limit + slo.limit_s_per_prompt_token * self._prompt_tokens)
