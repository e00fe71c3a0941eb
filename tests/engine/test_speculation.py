"""Accepted drafts: their mean is the profile's, they belong to the sequence's own step, chunks show them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servebench.engine.replica import Replica, Step
from servebench.engine.sequence import Emission, Sequence
from servebench.engine.speculation import Acceptance, acceptance_probability, accepted_tokens
from tests.engine.driving import drive, small_tier

M_AND_A = [(1, 1.6), (3, 1.0), (3, 2.5), (3, 4.0), (7, 3.1)]


@given(drafts=st.integers(1, 10), share=st.floats(0, 1))
def test_the_probability_gives_the_mean(drafts: int, share: float) -> None:
    mean = 1 + share * drafts
    assert accepted_tokens(drafts, acceptance_probability(drafts, mean)) == pytest.approx(mean, abs=1e-9)


@pytest.mark.parametrize(("drafts", "mean"), M_AND_A)
def test_acceptance_has_its_mean_and_range(drafts: int, mean: float) -> None:
    acceptance = Acceptance(drafts=drafts, mean=mean, seed=9)
    draws = np.array([[next(d) for _ in range(500)] for d in map(acceptance.draws, range(30))])
    assert draws.min() >= 1
    assert draws.max() <= drafts + 1
    assert draws.mean() == pytest.approx(mean, rel=0.02)
    assert draws.tolist() == [[acceptance.tokens(i, step) for step in range(500)] for i in range(30)]
    if 1 < mean < drafts + 1:  # neither neighbours in time nor in number follow each other
        flat = draws - draws.mean()
        assert abs((flat[:, 1:] * flat[:, :-1]).mean()) < 0.05 * flat.var()
        assert abs((flat[1:] * flat[:-1]).mean()) < 0.05 * flat.var()


def test_impossible_acceptance_is_refused() -> None:
    with pytest.raises(ValueError, match="yields 1 to 3 tokens, not"):
        Acceptance(drafts=2, mean=3.5, seed=0)
    with pytest.raises(ValueError, match="drafts must be"):
        accepted_tokens(-1, 0.5)


@pytest.mark.parametrize(("drafts", "mean"), M_AND_A)
def test_chunks_of_a_replica_carry_what_was_accepted(drafts: int, mean: float) -> None:
    tier, gpu = small_tier(pool_blocks=4_000, draft_tokens=drafts, accepted_tokens=mean)
    replica = Replica(tier, gpu, seed=5)
    chunks: dict[int, list[int]] = {i: [] for i in range(40)}

    def note(_: Step, emissions: list[Emission]) -> None:
        for emission in emissions:
            chunks[emission.sequence.id].append(emission.tokens)

    drive(replica, [Sequence(i, 0.0, 100, 400) for i in range(40)], note)
    assert all(sum(tokens) == 400 for tokens in chunks.values())
    between = [n for tokens in chunks.values() for n in tokens[1:-1]]  # the last chunk may be cut short
    assert np.mean(between) == pytest.approx(mean, rel=0.03)
    assert set(between) <= set(range(1, drafts + 2))


def test_workloads_accept_differently_and_streams_keep_their_chunks_at_any_load() -> None:
    tier, gpu = small_tier(
        pool_blocks=4_000,
        draft_tokens=3,
        accepted_tokens=2.0,
        accepted_tokens_by_workload={"code": 3.4, "agents": 1.3},
    )
    speeds: dict[str, float] = {}
    kept: list[list[int]] = []
    for others in (0, 30):
        seen: list[Emission] = []

        workloads = ["code", "agents", ""] * (1 + others // 3)
        drive(
            Replica(tier, gpu, seed=1),
            [Sequence(i, 0.01 * i, 64, 900, workload=name) for i, name in enumerate(workloads)],
            lambda _, emissions: seen.extend(emissions),  # noqa: B023  # called within this turn
        )
        speeds = {
            name: float(np.mean([e.tokens for e in seen if e.sequence.workload == name and not e.finished]))
            for name in ("code", "agents", "")
        }
        kept.append([e.tokens for e in seen if e.sequence.id == 0])
    assert kept[0] == kept[1]
    assert speeds["code"] == pytest.approx(3.4, rel=0.03)
    assert speeds["agents"] == pytest.approx(1.3, rel=0.03)
    assert speeds[""] == pytest.approx(2.0, rel=0.03)
