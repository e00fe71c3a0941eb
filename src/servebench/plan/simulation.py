"""A fleet in virtual time: the engine's replicas under a heap of events. Deterministic for a seed.

An event is (time, tie-breaking counter, replica): the end of its step, or the moment it may start one.
Arrivals come from the vector in order and go where the router sends them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np
from numpy.typing import NDArray

from servebench.catalog.hardware import Gpu
from servebench.catalog.tiers import Tier
from servebench.engine.disaggregation import Handover, Split
from servebench.engine.replica import Replica, Step
from servebench.engine.router import ROUTERS, least_loaded
from servebench.engine.sequence import QueueFullError, Sequence, SequenceDoesNotFitError
from servebench.plan.traffic import Traffic

Floats = NDArray[np.float64]
_PROGRESS_EVERY = 2_000  # arrivals


@dataclass(frozen=True, slots=True)
class SimulationResult:
    """Row k is request k of the traffic. A request that was refused is at +inf: no replica could ever hold
    it, or as many waited as may.

    tpot_s is NaN where one token came. wait_s: from when the host has it ready to admission into the batch.
    gpu_busy_share: of all replicas' time from 0 to end_s. peak_kv_usage: of the fullest replica.
    """

    arrival_s: Floats
    ttft_s: Floats
    tpot_s: Floats
    e2e_s: Floats
    cached_tokens: NDArray[np.int64]
    wait_s: Floats
    refused: int
    end_s: float
    gpu_busy_share: float
    peak_kv_usage: float
    preemptions: int
    steps: int
    generated_tokens: int


def simulate(
    traffic: Traffic,
    *,
    tier: Tier,
    gpu: Gpu,
    replicas: int,
    split: Split | None = None,
    router: str = "least-loaded",
    seed: int = 0,
    on_progress: Callable[[float], None] | None = None,
) -> SimulationResult:
    """Runs all requests to their end. on_progress gets the share of arrivals done, now and then.

    split: each of `replicas` is a group of so many replicas that prefill and so many that decode.
    """
    if replicas < 1:
        raise ValueError(f"a fleet needs a replica, not {replicas}")
    whole = None if split is None else split.times(replicas)
    count, prefill = (replicas, replicas) if whole is None else (whole.replicas, whole.prefill)
    handover = None if whole is None else Handover(tier, gpu, prefill=prefill)
    made = [Replica(tier, gpu, seed=seed * 1_000_003 + i) for i in range(count)]
    fleet = _Fleet(made, router, prefill, handover)
    sequences = _sequences(traffic)
    refused = 0
    for i, sequence in enumerate(sequences):
        fleet.run_until(sequence.arrival_s)
        try:
            fleet.submit(sequence)
        except (SequenceDoesNotFitError, QueueFullError):
            refused += 1
        if on_progress is not None and i % _PROGRESS_EVERY == 0:
            on_progress(i / len(sequences))
    fleet.run_until(float("inf"))
    return _result(traffic, sequences, fleet, refused)


class _Fleet:
    """Replicas under one heap. With a handover the first `prefill` of them prefill and the rest decode."""

    def __init__(self, replicas: list[Replica], router: str, prefill: int, handover: Handover | None) -> None:
        self.replicas = replicas
        self._entry, self._decoders = replicas[:prefill], replicas[prefill:]
        self._handover = handover
        self._choose, self._choose_decoder = ROUTERS[router](), least_loaded()
        self._events: list[tuple[float, int, int]] = []
        self._ties = 0
        self._steps: list[Step | None] = [None] * len(replicas)
        self._due_s: list[float | None] = [None] * len(replicas)  # of its event that holds; others are stale
        self.now_s = 0.0
        self.peak_kv_usage = 0.0

    def submit(self, sequence: Sequence) -> None:
        if self._handover is not None:
            self._decoders[0].require_fit(sequence)
            sequence = self._handover.begin(sequence)
        index = self._choose(self._entry, sequence)
        try:
            self._enter(index, sequence, sequence.arrival_s)
        except (SequenceDoesNotFitError, QueueFullError):
            if self._handover is not None:
                self._handover.cancel(sequence.id)
            raise

    def run_until(self, limit_s: float) -> None:
        """All events before limit_s."""
        events, due_s = self._events, self._due_s
        while events and events[0][0] < limit_s:
            now_s, _, index = heappop(events)
            if due_s[index] != now_s:
                continue
            due_s[index] = None
            step = self._steps[index]
            if step is not None:
                self._finish(index, step)
            # a decode replica may get a sequence at the end of any other's step: no jump past the next event
            until_s = min(limit_s, events[0][0]) if self._handover is not None and events else limit_s
            now_s = self.replicas[index].coast(now_s, until_s)
            self._begin(index, now_s)
            self.now_s = max(self.now_s, now_s)

    def _finish(self, index: int, step: Step) -> None:
        self._steps[index] = None
        replica = self.replicas[index]
        usage = replica.kv_usage
        if usage > self.peak_kv_usage:
            self.peak_kv_usage = usage
        prefills = self._handover is not None and index < len(self._entry)
        emissions = replica.finish_step(step, emit=prefills)
        if self._handover is None or not prefills:
            return
        for emission in emissions:
            sequence = self._handover.end(emission.sequence, index, step.end_s)
            if sequence is not None:
                decoder = len(self._entry) + self._choose_decoder(self._decoders, sequence)
                self._enter(decoder, sequence, step.end_s)

    def _enter(self, index: int, sequence: Sequence, now_s: float) -> None:
        self.replicas[index].submit(sequence, now_s=now_s)
        if self._steps[index] is None:
            self._begin(index, now_s)

    def _begin(self, index: int, now_s: float) -> None:
        replica = self.replicas[index]
        at_s = replica.next_start_s(now_s)
        if at_s is None:
            return
        if at_s <= now_s:
            step = self._steps[index] = replica.start_step(now_s)
            if step is None:  # not reached: what may start now and fits an empty replica starts
                raise RuntimeError("a replica with work did not start a step")
            at_s = step.end_s
        self._ties += 1
        self._due_s[index] = at_s
        heappush(self._events, (at_s, self._ties, index))


def _sequences(traffic: Traffic) -> list[Sequence]:
    keys = traffic.block_keys or ((),) * len(traffic)
    rows = zip(
        traffic.arrival_s.tolist(),
        traffic.prompt_tokens.tolist(),
        traffic.output_tokens.tolist(),
        keys,
        strict=True,
    )
    return [Sequence(i, *row) for i, row in enumerate(rows)]


def _result(traffic: Traffic, sequences: list[Sequence], fleet: _Fleet, refused: int) -> SimulationResult:
    inf = float("inf")
    first = np.array([inf if s.first_token_s is None else s.first_token_s for s in sequences])
    last = np.array([inf if s.finished_s is None else s.finished_s for s in sequences])
    admitted = np.array([inf if s.admitted_s is None else s.admitted_s for s in sequences])
    gaps = traffic.output_tokens - 1
    with np.errstate(invalid="ignore", divide="ignore"):
        tpot = np.where(gaps > 0, (last - first) / gaps, np.nan)
    tpot[np.isinf(last)] = inf
    replicas, end_s = fleet.replicas, fleet.now_s
    return SimulationResult(
        arrival_s=traffic.arrival_s,
        ttft_s=first - traffic.arrival_s,
        tpot_s=tpot,
        e2e_s=last - traffic.arrival_s,
        cached_tokens=np.array([s.cached_tokens for s in sequences], dtype=np.int64),
        wait_s=admitted - traffic.arrival_s - replicas[0].tier.serving.ttft_floor_s,
        refused=refused,
        end_s=end_s,
        gpu_busy_share=sum(r.busy_s for r in replicas) / (len(replicas) * end_s) if end_s else 0.0,
        peak_kv_usage=fleet.peak_kv_usage,
        preemptions=sum(r.preemptions for r in replicas),
        steps=sum(r.steps for r in replicas),
        generated_tokens=sum(r.generated_tokens for r in replicas),
    )
