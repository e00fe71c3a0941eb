"""Taking quiet steps at once gives what taking them one by one gives: times, tokens, blocks, counters."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servebench.engine.replica import Replica
from servebench.engine.sequence import Sequence
from tests.engine.driving import small_tier

asks = st.lists(st.tuples(st.floats(0, 3), st.integers(1, 700), st.integers(1, 500)), min_size=1, max_size=25)


def run(
    sequences: list[Sequence], *, coasting: bool, pool_blocks: int = 40, max_num_seqs: int = 6
) -> tuple[Replica, int]:
    tier, gpu = small_tier(
        pool_blocks=pool_blocks,
        step_noise_cv=0.05,
        prefill_noise_cv=0.15,
        ttft_floor_s=0.05,
        max_num_seqs=max_num_seqs,
    )
    replica, now_s, taken = Replica(tier, gpu, seed=4), 0.0, 0
    coming = sorted(sequences, key=lambda s: s.arrival_s)
    while True:
        next_arrival_s = coming[0].arrival_s if coming else float("inf")
        start_s = replica.next_start_s(now_s)
        if next_arrival_s <= (now_s if start_s is None else start_s) or (start_s is None and coming):
            now_s = max(now_s, next_arrival_s)
            replica.submit(coming.pop(0))
            continue
        if start_s is None:
            return replica, taken
        step = replica.start_step(start_s)
        assert step is not None
        while coming and coming[0].arrival_s < step.end_s:
            replica.submit(coming.pop(0))
        replica.finish_step(step)
        now_s, taken = step.end_s, taken + 1
        if coasting:
            now_s = replica.coast(now_s, coming[0].arrival_s if coming else float("inf"))


@settings(max_examples=60, deadline=None)
@given(asks=asks, pool_blocks=st.sampled_from([20, 40, 400]), max_num_seqs=st.integers(1, 12))
def test_coasting_changes_nothing(
    asks: list[tuple[float, int, int]], pool_blocks: int, max_num_seqs: int
) -> None:
    slow = [Sequence(i, *ask) for i, ask in enumerate(asks)]
    fast = [Sequence(i, *ask) for i, ask in enumerate(asks)]
    stepped, _ = run(slow, coasting=False, pool_blocks=pool_blocks, max_num_seqs=max_num_seqs)
    coasted, _ = run(fast, coasting=True, pool_blocks=pool_blocks, max_num_seqs=max_num_seqs)
    for one, other in zip(slow, fast, strict=True):
        assert other.first_token_s == pytest.approx(one.first_token_s, rel=1e-9)
        assert other.finished_s == pytest.approx(one.finished_s, rel=1e-9)
        assert other.preemptions == one.preemptions
        assert other.generated == one.generated == one.output_tokens
    assert coasted.steps == stepped.steps
    assert coasted.generated_tokens == stepped.generated_tokens == sum(s.output_tokens for s in slow)
    assert coasted.busy_s == pytest.approx(stepped.busy_s, rel=1e-9)
    assert coasted.cache.used_blocks == 0


def test_a_long_answer_alone_takes_few_calls() -> None:
    _, steps = run([Sequence(0, 0.0, 100, 500)], coasting=True)
    assert steps < 10  # of 500
