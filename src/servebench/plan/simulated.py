"""What a simulation left: one row a call, as vectors, and which of the rows may be judged.

A run of single requests is judged after its first tenth. Sessions take minutes to fill a fleet and go on
after the last has begun, so of them the rows between one mean session after the start and the last first
call count.
"""

from collections.abc import Sequence as Rows
from dataclasses import dataclass, field
from math import ceil

import numpy as np
from numpy.typing import NDArray

from servebench.engine.replica import Replica
from servebench.engine.sequence import Sequence

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

WARMUP_SHARE = 0.1
_LEAST_MEASURED = 0.5  # of the arrivals' span: a warm-up takes no more of it


@dataclass(frozen=True, slots=True)
class Served:
    """One call on its way: origin is the row of the traffic, call its number in the session, from 0."""

    sequence: Sequence
    origin: int
    call: int


@dataclass(frozen=True, slots=True)
class SimulationResult:
    """Row k is call k by arrival; of single requests, request k. One that was refused is at +inf.

    tpot_s is NaN where one token came. wait_s: from when the host has it ready to admission into the batch.
    origin: its row of the traffic. measured: the rows to judge. gpu_busy_share: of all replicas' time from
    0 to end_s. peak_kv_usage: of the fullest replica.
    """

    arrival_s: Floats
    ttft_s: Floats
    tpot_s: Floats
    e2e_s: Floats
    prompt_tokens: Ints
    output_tokens: Ints
    cached_tokens: Ints
    wait_s: Floats
    origin: Ints
    measured: Bools = field(repr=False)
    refused: int
    end_s: float
    gpu_busy_share: float
    peak_kv_usage: float
    preemptions: int
    steps: int
    generated_tokens: int

    @property
    def window_s(self) -> float:
        """From the first to the last arrival that is judged."""
        arrivals_s = self.arrival_s[self.measured]
        return float(arrivals_s[-1] - arrivals_s[0]) if len(arrivals_s) else 0.0


def result_of(
    served: Rows[Served],
    replicas: Rows[Replica],
    *,
    end_s: float,
    refused: int,
    peak_kv_usage: float,
    session_calls: Ints | None,
) -> SimulationResult:
    """session_calls: of the sessions that the rows of the traffic begin; None where they begin none."""
    inf = float("inf")
    sequences = [row.sequence for row in served]
    arrival_s = np.array([s.arrival_s for s in sequences])
    first = np.array([inf if s.first_token_s is None else s.first_token_s for s in sequences])
    last = np.array([inf if s.finished_s is None else s.finished_s for s in sequences])
    admitted = np.array([inf if s.admitted_s is None else s.admitted_s for s in sequences])
    outputs = np.array([s.output_tokens for s in sequences], dtype=np.int64)
    origin = np.array([row.origin for row in served], dtype=np.int64)
    with np.errstate(invalid="ignore", divide="ignore"):
        tpot_s = np.where(outputs > 1, (last - first) / (outputs - 1), np.nan)
    tpot_s[np.isinf(last)] = inf
    measured = np.arange(len(served)) >= WARMUP_SHARE * len(served)
    if session_calls is not None:
        call = np.array([row.call for row in served])
        measured = _between_sessions(arrival_s, last, origin, call, session_calls)
    return SimulationResult(
        arrival_s=arrival_s,
        ttft_s=first - arrival_s,
        tpot_s=tpot_s,
        e2e_s=last - arrival_s,
        prompt_tokens=np.array([s.prompt_tokens for s in sequences], dtype=np.int64),
        output_tokens=outputs,
        cached_tokens=np.array([s.cached_tokens for s in sequences], dtype=np.int64),
        wait_s=admitted - arrival_s - replicas[0].tier.serving.ttft_floor_s,
        origin=origin,
        measured=measured,
        refused=refused,
        end_s=end_s,
        gpu_busy_share=sum(r.busy_s for r in replicas) / (len(replicas) * end_s) if end_s else 0.0,
        peak_kv_usage=peak_kv_usage,
        preemptions=sum(r.preemptions for r in replicas),
        steps=sum(r.steps for r in replicas),
        generated_tokens=sum(r.generated_tokens for r in replicas),
    )


def _between_sessions(
    arrival_s: Floats, last: Floats, origin: Ints, call: Ints, session_calls: Ints
) -> Bools:
    """A session that was cut off counts as long as its calls so far make the whole of it."""
    starts_s = arrival_s[call == 0]
    count = int(origin.max()) + 1
    made = np.maximum(np.bincount(origin, minlength=count), 1)
    began_s, ended_s = np.full(count, np.inf), np.zeros(count)
    np.minimum.at(began_s, origin, arrival_s)
    np.maximum.at(ended_s, origin, np.where(np.isfinite(last), last, 0.0))
    took_s = np.maximum(ended_s - began_s, 0.0) * session_calls[:count] / made
    span_s = float(starts_s[-1] - starts_s[0])
    warm_s = min(float(took_s.mean()), (1 - _LEAST_MEASURED) * span_s)
    warm_s = max(warm_s, float(starts_s[ceil(WARMUP_SHARE * len(starts_s)) - 1] - starts_s[0]))
    measured: Bools = (arrival_s >= starts_s[0] + warm_s) & (arrival_s <= starts_s[-1])
    return measured
