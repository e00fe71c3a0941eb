"""Laws of a fleet in virtual time, whatever its kind: more load never helps, nobody is overtaken for ever,
queues have limits, virtual time is the same however it is cut."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servebench.engine.disaggregation import Split
from servebench.engine.replica import Replica
from servebench.engine.sequence import QueueFullError, Sequence, State
from servebench.engine.waiting import WaitingQueue
from servebench.plan.simulation import SimulationResult, simulate
from servebench.plan.traffic import Traffic
from tests.engine.driving import drive, small_tier

KINDS: dict[str, dict[str, Any]] = {
    "one replica": {},
    "drafts and noise": {"draft_tokens": 3, "accepted_tokens": 2.2, "step_noise_cv": 0.05},
    "round robin": {"router": "round-robin", "replicas": 2},
    "least loaded": {"router": "least-loaded", "replicas": 2},
    "prefix aware": {"router": "prefix-aware", "replicas": 2},
    "split": {"split": Split(1, 1)},
}


def run(rate_rps: float, kind: str, seed: int) -> SimulationResult:
    options = dict(KINDS[kind])
    fleet = {name: options.pop(name) for name in ("router", "replicas", "split") if name in options}
    fleet.setdefault("replicas", 1)
    tier, gpu = small_tier(pool_blocks=2_000, max_num_seqs=24, **options)
    generator = np.random.default_rng(seed)
    count = 500
    traffic = Traffic(
        np.cumsum(generator.exponential(size=count)) / rate_rps,
        generator.integers(50, 3_000, count),
        generator.integers(10, 200, count),
    )
    return simulate(traffic, tier=tier, gpu=gpu, seed=seed, **fleet)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [1, 2])
def test_more_load_never_speeds_anyone_up_in_the_mean(kind: str, seed: int) -> None:
    """The same requests, closer together: TTFT, TPOT and E2E in the mean don't fall."""
    runs = [run(rate_rps, kind, seed) for rate_rps in (2, 8, 20, 40, 70)]
    for name in ("ttft_s", "tpot_s", "e2e_s"):
        means = np.array([np.nanmean(getattr(result, name)) for result in runs])
        assert (np.diff(means) > -0.01 * means[:-1]).all(), (name, means)
        assert means[-1] > 1.2 * means[0]


@settings(max_examples=40, deadline=None)
@given(
    asks=st.lists(
        st.tuples(st.floats(0, 3), st.integers(1, 1_200), st.integers(1, 300)), min_size=2, max_size=30
    ),
    max_num_seqs=st.integers(1, 8),
)
def test_first_ready_first_admitted(asks: list[tuple[float, int, int]], max_num_seqs: int) -> None:
    tier, gpu = small_tier(max_num_seqs=max_num_seqs)
    sequences = [Sequence(i, *ask) for i, ask in enumerate(asks)]
    drive(Replica(tier, gpu), sequences)
    in_order = sorted(sequences, key=lambda s: (s.ready_s, s.id))
    admitted = [s.admitted_s for s in in_order]
    assert admitted == sorted(a for a in admitted if a is not None)


@given(st.lists(st.floats(0, 10), max_size=40))
def test_the_queue_is_by_readiness_and_the_preempted_are_first(ready: list[float]) -> None:
    queue = WaitingQueue(None)
    for i, ready_s in enumerate(ready):
        sequence = Sequence(i, 0.0, 1, 1)
        sequence.ready_s = ready_s
        queue.push(sequence)
    victim = Sequence(-1, 0.0, 1, 1)
    queue.push_front(victim)
    order = [queue.pop() for _ in range(len(queue))]
    assert order[0] is victim
    assert [(s.ready_s, s.id) for s in order[1:]] == sorted((r, i) for i, r in enumerate(ready))


def test_past_the_queue_limit_is_refused_and_preempted_ones_come_back() -> None:
    tier, gpu = small_tier(pool_blocks=20, max_queued_requests=2)
    replica = Replica(tier, gpu)
    sequences = [Sequence(i, 0.0, 300, 600) for i in range(5)]
    for sequence in sequences[:2]:
        replica.submit(sequence)
    with pytest.raises(QueueFullError, match="2 are waiting"):
        replica.submit(sequences[2])
    assert sequences[2].state is State.NEW
    now_s = 0.0
    while (start_s := replica.next_start_s(now_s)) is not None:
        step = replica.start_step(start_s)
        assert step is not None
        if step.batch.number == 0:
            replica.submit(sequences[3])  # the first two run, so there is room again
        replica.finish_step(step)
        now_s = step.end_s
    assert replica.preemptions > 0
    assert [s.state for s in sequences] == [State.FINISHED] * 2 + [State.NEW, State.FINISHED, State.NEW]
    refused = simulate(Traffic(np.zeros(6), np.full(6, 100), np.full(6, 10)), tier=tier, gpu=gpu, replicas=1)
    assert refused.refused == 3  # one starts at once and two wait
    assert np.isinf(refused.e2e_s).sum() == 3


@pytest.mark.parametrize("kind", KINDS)
def test_the_simulation_is_the_stepped_replica(kind: str) -> None:
    """What is watched step by step is what is jumped over: coasting is off where somebody observes."""
    options = dict(KINDS[kind])
    fleet = {name: options.pop(name) for name in ("router", "replicas", "split") if name in options}
    fleet.setdefault("replicas", 1)
    tier, gpu = small_tier(pool_blocks=800, max_num_seqs=16, ttft_floor_s=0.03, **options)
    generator = np.random.default_rng(8)
    traffic = Traffic(
        np.cumsum(generator.exponential(1 / 12, 200)),
        generator.integers(50, 3_000, 200),
        generator.integers(10, 300, 200),
    )
    seen: list[float] = []
    stepped = simulate(traffic, tier=tier, gpu=gpu, observe=lambda _, step: seen.append(step.end_s), **fleet)
    jumped = simulate(traffic, tier=tier, gpu=gpu, **fleet)
    assert len(seen) == stepped.steps == jumped.steps
    assert jumped.generated_tokens == stepped.generated_tokens
    for name in ("ttft_s", "tpot_s", "e2e_s", "wait_s"):
        assert getattr(jumped, name) == pytest.approx(getattr(stepped, name), rel=1e-8, abs=1e-9), name
