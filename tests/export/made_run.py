"""A run's records made up for the exporters' tests: seeded, with faults, at Grok 4.3's published prices."""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from servebench.meter.record import Outcome, RequestRecord

FAULTS = (Outcome.HTTP_429, Outcome.HTTP_5XX, Outcome.STREAM_CUT, Outcome.TIMEOUT_FIRST)
# 10^-10 USD a token
TICKS = {"input": 12_500, "cached_input": 2_000, "output": 25_000, "reasoning": 25_000}


@dataclass(frozen=True, slots=True)
class Ended:
    record: RequestRecord
    chunk_us: "array[int]"
    cost_ticks: dict[str, int]


def made_run(*, requests: int, rate_rps: float, fault_share: float, seed: int = 7) -> Iterator[Ended]:
    """Evenly spaced requests, each with its chunks; a faulty one has neither tokens nor a bill."""
    rng = np.random.default_rng(seed)
    faulty = set(rng.choice(requests, size=round(requests * fault_share), replace=False).tolist())
    for request_id in range(requests):
        intended_ns = round(request_id / rate_rps * 1e9)
        if request_id in faulty:
            yield _failed(request_id, intended_ns, FAULTS[request_id % len(FAULTS)])
        else:
            yield _succeeded(request_id, intended_ns, rng)


def _failed(request_id: int, intended_ns: int, outcome: Outcome) -> Ended:
    record = RequestRecord(
        id=request_id,
        class_name="chat",
        session=None,
        turn=0,
        model="grok-4.3",
        intended_ns=intended_ns,
        sent_ns=intended_ns + 80_000,
        first_token_ns=None,
        first_visible_ns=None,
        last_token_ns=None,
        end_ns=intended_ns + 50_000_000,
        outcome=outcome,
    )
    return Ended(record, array("i"), {})


def _succeeded(request_id: int, intended_ns: int, rng: np.random.Generator) -> Ended:
    reasoning, visible = int(rng.integers(2, 6)), int(rng.integers(5, 30))
    sent_ns = intended_ns + int(rng.integers(20_000, 400_000))
    gaps_us = rng.integers(7_000, 14_000, size=reasoning + visible)
    gaps_us[0] = round(float(rng.lognormal(-1.5, 0.5)) * 1e6)
    at_ns = sent_ns + np.cumsum(gaps_us) * 1000
    prompt, cached = int(rng.integers(200, 2_000)), int(rng.integers(0, 150))
    record = RequestRecord(
        id=request_id,
        class_name="chat",
        session=None,
        turn=0,
        model="grok-4.3",
        intended_ns=intended_ns,
        sent_ns=sent_ns,
        first_token_ns=int(at_ns[0]),
        first_visible_ns=int(at_ns[reasoning]),
        last_token_ns=int(at_ns[-1]),
        end_ns=int(at_ns[-1]) + 100_000,
        outcome=Outcome.SUCCESS,
        status=200,
        finish_reason="stop",
        prompt_tokens=prompt,
        cached_tokens=cached,
        completion_tokens=visible,
        reasoning_tokens=reasoning,
        usage_source="usage",
        chunks=reasoning + visible,
        reasoning_chunks=reasoning,
    )
    tokens = {"input": prompt - cached, "cached_input": cached, "output": visible, "reasoning": reasoning}
    ticks = {kind: count * TICKS[kind] for kind, count in tokens.items()}
    return Ended(record, array("i", gaps_us.tolist()), ticks)
