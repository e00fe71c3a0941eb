"""What must hold whatever is asked of a replica: every token comes once, blocks conserve, nobody starves."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servebench.engine.replica import Replica, Step
from servebench.engine.sequence import Emission, Sequence, SequenceDoesNotFitError, State
from tests.engine.driving import drive, small_tier

ask = st.tuples(
    st.floats(0, 2), st.integers(1, 1_500), st.integers(1, 900), st.integers(0, 2), st.integers(0, 12)
)


def sequences_of(asks: list[tuple[float, int, int, int, int]]) -> list[Sequence]:
    """Sequences whose prompts begin with one of three texts, of which each shares some blocks."""
    made = []
    for i, (arrival_s, prompt, output, family, shared) in enumerate(asks):
        whole = prompt // 64
        keys = tuple(family * 1_000 + k if k < shared else 1_000_000 + i * 1_000 + k for k in range(whole))
        made.append(Sequence(i, arrival_s, prompt, output, keys))
    return made


@settings(max_examples=60, deadline=None)
@given(
    asks=st.lists(ask, min_size=1, max_size=25),
    drafts=st.sampled_from([(0, 1.0), (3, 2.2)]),
    max_num_seqs=st.integers(1, 12),
    batched=st.sampled_from([64, 512]),
)
def test_tokens_and_blocks_conserve_and_all_finish(
    asks: list[tuple[float, int, int, int, int]],
    drafts: tuple[int, float],
    max_num_seqs: int,
    batched: int,
) -> None:
    tier, gpu = small_tier(
        draft_tokens=drafts[0],
        accepted_tokens=drafts[1],
        max_num_seqs=max_num_seqs,
        max_num_batched_tokens=batched,
    )
    replica = Replica(tier, gpu, seed=3)
    sequences = sequences_of(asks)
    got: Counter[int] = Counter()
    firsts: Counter[int] = Counter()
    finishes: Counter[int] = Counter()

    def check(step: Step, emissions: list[Emission]) -> None:
        for sequence, tokens, first, finished in emissions:
            got[sequence.id] += tokens
            firsts[sequence.id] += first
            finishes[sequence.id] += finished
            assert 1 <= tokens <= drafts[0] + 1
            assert finished == (got[sequence.id] == sequence.output_tokens)
        live = [s for s in sequences if s.state in (State.PREFILLING, State.DECODING)]
        cache = replica.cache
        shared = {key for s in live for key in s.block_keys[: s.held_keys]}
        private = sum(s.private_blocks for s in live)
        assert len(shared) == cache.shared_blocks
        assert private + cache.shared_blocks + cache.idle_blocks + cache.free_blocks == cache.total_blocks
        assert step.batch.context_tokens >= step.batch.decoding
        work = step.batch.decoding * (1 + drafts[0]) + step.batch.prefill_tokens
        assert work <= batched
        assert len(live) == replica.running_count <= max_num_seqs

    drive(replica, sequences, check)
    assert {s.state for s in sequences} == {State.FINISHED}
    assert [got[s.id] for s in sequences] == [s.output_tokens for s in sequences]
    assert all(firsts[s.id] == finishes[s.id] == 1 for s in sequences)
    assert replica.generated_tokens == sum(s.output_tokens for s in sequences)
    assert replica.cache.used_blocks == 0
    assert replica.waiting_count == replica.running_count == 0
    computed = sum(s.prompt_tokens - s.cached_tokens for s in sequences)
    assert replica.prompt_tokens >= computed
    if not replica.preemptions:
        assert replica.prompt_tokens == computed
    for s in sequences:
        assert s.admitted_s is not None
        assert s.first_token_s is not None
        assert s.finished_s is not None
        assert s.arrival_s <= s.admitted_s < s.first_token_s <= s.finished_s


def test_preemption_recomputes_the_last_admitted_and_the_first_goes_on() -> None:
    tier, gpu = small_tier(pool_blocks=20)
    replica = Replica(tier, gpu)
    sequences = [Sequence(i, 0.0, 300, 600) for i in range(3)]  # 3 x 15 blocks in 20
    drive(replica, sequences)
    assert replica.preemptions == sum(s.preemptions for s in sequences) > 0
    assert sequences[0].preemptions == 0
    finished = [s.finished_s for s in sequences]
    assert finished == sorted(t for t in finished if t is not None)
    assert replica.prompt_tokens > 900  # recomputed tokens are work


def test_context_sum_is_exact() -> None:
    tier, gpu = small_tier()
    replica = Replica(tier, gpu)
    seen = []

    def check(step: Step, _: list[Emission]) -> None:
        seen.append((step.batch.decoding, step.batch.context_tokens))

    drive(replica, [Sequence(0, 0.0, 100, 4), Sequence(1, 0.0, 50, 2)], check)
    assert seen == [(0, 0), (2, 101 + 51), (1, 102), (1, 103)]


def test_what_can_never_fit_is_refused_at_the_door() -> None:
    tier, gpu = small_tier(pool_blocks=10)
    replica = Replica(tier, gpu)
    replica.submit(Sequence(0, 0.0, 600, 40))
    with pytest.raises(SequenceDoesNotFitError, match="KV pool of 640"):
        replica.submit(Sequence(1, 0.0, 600, 41))
    with pytest.raises(SequenceDoesNotFitError, match="context window"):
        replica.submit(Sequence(2, 0.0, tier.context_length_tokens, 1))
    with pytest.raises(ValueError, match="before"):
        replica.submit(Sequence(0, 0.0, 10, 10))
    with pytest.raises(ValueError, match="at least 1"):
        Sequence(3, 0.0, 0, 1)
    assert replica.waiting_count == 1


def test_a_sequence_that_fills_the_pool_ends_with_drafts_too() -> None:
    tier, gpu = small_tier(pool_blocks=10, draft_tokens=5, accepted_tokens=1.5)
    replica = Replica(tier, gpu)
    alone = Sequence(0, 0.0, 320, 320)
    drive(replica, [alone])
    assert (alone.generated, alone.preemptions) == (320, 0)


@settings(max_examples=40, deadline=None)
@given(asks=st.lists(ask, min_size=2, max_size=15), cancel_at=st.integers(0, 40), data=st.data())
def test_cancelling_at_any_moment_frees_the_blocks(
    asks: list[tuple[float, int, int, int, int]], cancel_at: int, data: st.DataObject
) -> None:
    tier, gpu = small_tier(max_num_seqs=6)
    replica = Replica(tier, gpu)
    sequences = sequences_of([(0.0, *rest) for _, *rest in asks])  # type: ignore[misc]  # arrival replaced
    for sequence in sequences:
        replica.submit(sequence)
    victims = data.draw(st.sets(st.sampled_from(range(len(sequences))), min_size=1))
    now_s, steps, after_cancel = 0.0, 0, Counter[int]()
    while (start_s := replica.next_start_s(now_s)) is not None:
        step = replica.start_step(start_s)
        assert step is not None
        if steps == cancel_at:
            for victim in victims:
                was_live = sequences[victim].state is not State.FINISHED
                assert replica.cancel(victim) == was_live
                assert not replica.cancel(victim)
        for emission in replica.finish_step(step):
            if steps >= cancel_at:
                after_cancel[emission.sequence.id] += 1
        now_s, steps = step.end_s, steps + 1
    if steps > cancel_at:
        assert not victims & after_cancel.keys()
    assert replica.cache.used_blocks == 0
    ended = {State.FINISHED, State.CANCELLED}
    assert {s.state for s in sequences} <= ended
    assert all(s.state is State.FINISHED for s in sequences if s.id not in victims)


@settings(max_examples=40, deadline=None)
@given(
    asks=st.lists(ask, min_size=1, max_size=20),
    drafts=st.sampled_from([(0, 1.0), (3, 2.2)]),
    leaving=st.sets(st.integers(0, 19), max_size=6),
)
def test_what_a_step_in_flight_will_emit_is_known(
    asks: list[tuple[float, int, int, int, int]], drafts: tuple[int, float], leaving: set[int]
) -> None:
    tier, gpu = small_tier(draft_tokens=drafts[0], accepted_tokens=drafts[1], max_num_seqs=6)
    replica = Replica(tier, gpu, seed=3)
    for sequence in sequences_of(asks):
        replica.submit(sequence)
    now_s = 0.0
    while (start_s := replica.next_start_s(now_s)) is not None:
        step = replica.start_step(start_s)
        assert step is not None
        foreseen = replica.foreseen()
        gone = {i for i in leaving if step.batch.number > 10 * i and replica.cancel(i)}
        emissions = replica.finish_step(step)
        prompts = {sequence.id for sequence, _ in step.batch.chunks}
        sure = [e for e in emissions if not drafts[0] or e.sequence.id in prompts]
        assert [e for e in foreseen if e.sequence.id not in gone] == sure
        now_s = step.end_s
    assert replica.foreseen() == []
