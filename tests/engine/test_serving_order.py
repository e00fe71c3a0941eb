"""What a replica and its router do in which order, and what that costs: floors, caches, load, noise."""

from collections import defaultdict
from statistics import fmean

import numpy as np
import pytest

from servebench.engine.replica import Replica, Step
from servebench.engine.router import ROUTERS
from servebench.engine.sequence import Emission, Sequence
from tests.engine.driving import drive, small_tier


def test_the_host_floor_delays_the_first_schedule() -> None:
    tier, gpu = small_tier(ttft_floor_s=0.1)
    replica = Replica(tier, gpu)
    sequence = Sequence(0, 5.0, 100, 2)
    assert replica.next_start_s(5.0) is None
    replica.submit(sequence)
    assert replica.next_start_s(5.0) == pytest.approx(5.1)
    assert replica.start_step(5.05) is None
    step = replica.start_step(5.1)
    assert step is not None
    assert replica.finish_step(step)[0].first
    assert sequence.first_token_s == step.end_s > 5.1


def test_one_step_in_flight() -> None:
    tier, gpu = small_tier()
    replica = Replica(tier, gpu)
    replica.submit(Sequence(0, 0.0, 10, 3))
    step = replica.start_step(0.0)
    assert step is not None
    with pytest.raises(RuntimeError, match="in flight"):
        replica.start_step(1.0)
    replica.finish_step(step)
    with pytest.raises(RuntimeError, match="not the one"):
        replica.finish_step(step)


def test_the_prefix_cache_shortens_the_second_prompt() -> None:
    tier, gpu = small_tier(pool_blocks=400)
    replica = Replica(tier, gpu)
    keys = tuple(range(300))
    cold, warm = Sequence(0, 0.0, 19_200, 2, keys), Sequence(1, 60.0, 19_200, 2, keys)
    drive(replica, [cold, warm])
    assert (cold.cached_tokens, warm.cached_tokens) == (0, 299 * 64)
    assert replica.prefix_hit_tokens / replica.prefix_query_tokens == pytest.approx(299 / 600)
    assert cold.first_token_s is not None
    assert warm.first_token_s is not None
    assert warm.first_token_s - 60.0 < cold.first_token_s / 3


def test_hit_tokens_skip_prefill_but_hold_kv_and_are_read() -> None:
    tier, gpu = small_tier(pool_blocks=400)
    replica = Replica(tier, gpu)
    keys = tuple(range(100))
    drive(replica, [Sequence(0, 0.0, 6_400, 1, keys)])
    assert (replica.prompt_tokens, replica.cache.used_blocks, replica.cache.idle_blocks) == (6_400, 0, 100)
    seen = []

    def look(step: Step, _: list[Emission]) -> None:
        seen.append((step.batch.prefill_tokens, step.batch.context_tokens, replica.cache.used_blocks))

    drive(replica, [Sequence(1, 60.0, 6_400, 3, keys), Sequence(2, 60.0, 6_400, 3, keys)], look)
    assert [tokens for tokens, _, _ in seen] == [128, 0, 0]  # the last block of each is computed
    assert [context for _, context, _ in seen] == [0, 2 * 6_401, 2 * 6_402]  # both are read whole
    assert seen[1][2] == 101 + 1  # 100 blocks shared, and one each for what is generated


def test_more_load_is_slower_in_the_mean() -> None:
    tier, gpu = small_tier(pool_blocks=2_000, max_num_seqs=32)
    generator = np.random.default_rng(11)
    gaps = generator.exponential(size=1_500)
    prompts = generator.integers(50, 2_000, 1_500)
    outputs = generator.integers(20, 200, 1_500)
    ttft = defaultdict(float)
    for rate_rps in (5, 20, 40, 60):
        arrivals = np.cumsum(gaps) / rate_rps
        sequences = [
            Sequence(i, float(t), int(p), int(o))
            for i, (t, p, o) in enumerate(zip(arrivals, prompts, outputs, strict=True))
        ]
        drive(Replica(tier, gpu), sequences)
        ttft[rate_rps] = fmean((s.first_token_s or 0.0) - s.arrival_s for s in sequences)
    assert list(ttft.values()) == sorted(ttft.values())
    assert ttft[60] > 2 * ttft[5]


def test_noise_is_of_mean_one_and_belongs_to_the_step_not_to_the_clock() -> None:
    tier, gpu = small_tier(step_noise_cv=0.05, prefill_noise_cv=0.15)

    def durations(offset_s: float) -> list[float]:
        lasted = []
        replica = Replica(tier, gpu, seed=5)
        drive(
            replica,
            [Sequence(0, offset_s, 100, 2_000)],
            lambda step, _: lasted.append(step.decode_s + step.prefill_s),
        )
        return lasted

    early, late = durations(0.0), durations(1_234.5)
    assert early == late
    model = Replica(tier, gpu).model
    ratio = [s / model.step(1, 101 + i).total_s for i, s in enumerate(early[1:])]
    assert np.mean(ratio) == pytest.approx(1, abs=0.005)
    assert np.std(ratio) == pytest.approx(0.05, rel=0.1)


def test_routers_spread_the_load() -> None:
    tier, gpu = small_tier()
    for name, make in ROUTERS.items():
        replicas = [Replica(tier, gpu, seed=i) for i in range(3)]
        choose = make()
        for i in range(30):
            replicas[choose(replicas)].submit(Sequence(i, 0.0, 10, 10))
        assert [r.waiting_count for r in replicas] == [10, 10, 10], name
    lopsided = [Replica(tier, gpu, seed=i) for i in range(3)]
    lopsided[0].submit(Sequence(0, 0.0, 10, 10))
    lopsided[2].submit(Sequence(1, 0.0, 10, 10))
    assert ROUTERS["least-loaded"]()(lopsided) == 1
