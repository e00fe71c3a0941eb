"""Routers over a simulated fleet: caches are used where they are, and nobody waits for a busy replica."""

import numpy as np
import pytest

from servebench.catalog.hardware import Gpu
from servebench.catalog.tiers import Tier
from servebench.engine.replica import Replica
from servebench.engine.router import ROUTERS, prefix_aware
from servebench.engine.sequence import Sequence
from servebench.plan.simulation import simulate
from servebench.plan.traffic import Traffic
from tests.engine.driving import small_tier


@pytest.fixture(scope="module")
def small() -> tuple[Tier, Gpu]:
    return small_tier(pool_blocks=3_000, max_num_seqs=16)


def sessions(seed: int, *, turns: int = 6, count: int = 60, rate_rps: float = 6.0) -> Traffic:
    """Sessions whose every turn has all of the last one's prompt and 512 tokens more, 3 s later."""
    generator = np.random.default_rng(seed)
    starts_s = np.cumsum(generator.exponential(1 / rate_rps, count))
    rows = []
    for session, start_s in enumerate(starts_s):
        keys = tuple(range((1 + session) << 20, ((1 + session) << 20) + 16 + 8 * turns))
        rows += [
            (start_s + 3.0 * turn, (16 + 8 * turn) * 64 + 10, 40, keys[: 16 + 8 * turn])
            for turn in range(turns)
        ]
    rows.sort(key=lambda row: row[0])
    arrival_s, prompts, outputs, keys_of = zip(*rows, strict=True)
    return Traffic(np.array(arrival_s), np.array(prompts), np.array(outputs), keys_of)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_prefix_aware_raises_the_hit_share_of_sessions(small: tuple[Tier, Gpu], seed: int) -> None:
    traffic = sessions(seed)
    tier, gpu = small
    hits, ttft_s = {}, {}
    for router in ROUTERS:
        result = simulate(traffic, tier=tier, gpu=gpu, replicas=4, router=router)
        hits[router] = result.cached_tokens.sum() / traffic.prompt_tokens.sum()
        ttft_s[router] = result.ttft_s.mean()
        assert np.isfinite(result.e2e_s).all()
    assert hits["prefix-aware"] > 1.3 * max(hits["least-loaded"], hits["round-robin"])
    assert hits["prefix-aware"] > 0.6  # of 0.77 that one replica with all the memory would find
    assert ttft_s["prefix-aware"] < ttft_s["least-loaded"]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_least_loaded_waits_less_than_round_robin(small: tuple[Tier, Gpu], seed: int) -> None:
    generator = np.random.default_rng(seed)
    count = 1_500
    traffic = Traffic(
        np.cumsum(generator.exponential(1 / 110, count)),
        generator.integers(10, 1_500, count),
        np.where(generator.random(count) < 0.1, 400, 20),  # few long ones: load is unequal by chance
    )
    tier, gpu = small
    wait_s = {
        router: simulate(traffic, tier=tier, gpu=gpu, replicas=4, router=router).wait_s.mean()
        for router in ("least-loaded", "round-robin")
    }
    assert wait_s["least-loaded"] < 0.9 * wait_s["round-robin"]


def test_prefix_aware_leaves_a_cache_whose_replica_is_too_busy(small: tuple[Tier, Gpu]) -> None:
    tier, gpu = small
    replicas = [Replica(tier, gpu, seed=i) for i in range(3)]
    keys = tuple(range(20))
    warm = Sequence(0, 0.0, 20 * 64, 1, keys)
    replicas[1].submit(warm)
    step = replicas[1].start_step(0.0)
    assert step is not None
    replicas[1].finish_step(step)
    again = Sequence(1, 1.0, 20 * 64, 5, keys)
    assert replicas[1].prefix_match_tokens(again) == 19 * 64
    choose = prefix_aware()
    assert {choose(replicas, again) for _ in range(5)} == {1}
    assert {choose(replicas) for _ in range(6)} == {0, 1, 2}  # nobody in particular
    assert {choose(replicas, Sequence(2, 1.0, 50, 5)) for _ in range(6)} == {0, 1, 2}
    for i in range(10, 20):
        replicas[1].submit(Sequence(i, 1.0, 10, 5))
    assert choose(replicas, again) != 1
