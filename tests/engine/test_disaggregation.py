"""Prefill and decode apart: what is asked is what comes, the KV takes its time on the link, decoding is left
alone by prompts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servebench.engine.disaggregation import LINK_EFFICIENCY, Handover, Split, parse_split
from servebench.engine.sequence import Sequence
from servebench.errors import UsageError
from servebench.plan.simulation import SimulationResult, simulate
from servebench.plan.traffic import Traffic
from tests.engine.driving import small_tier

ask = st.tuples(st.floats(0, 2), st.integers(1, 1_500), st.integers(1, 600), st.integers(0, 2))


def traffic_of(rows: list[tuple[float, int, int, int]]) -> Traffic:
    rows = sorted(rows)
    keys = tuple(tuple(family * 1_000 + k for k in range(prompt // 64)) for _, prompt, _, family in rows)
    arrival_s, prompts, outputs, _ = zip(*rows, strict=True)
    return Traffic(np.array(arrival_s), np.array(prompts), np.array(outputs), keys)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(ask, min_size=1, max_size=25),
    split=st.sampled_from([Split(1, 1), Split(2, 1), Split(1, 3)]),
    drafts=st.sampled_from([(0, 1.0), (3, 2.2)]),
)
def test_every_token_comes_and_nobody_starves(
    rows: list[tuple[float, int, int, int]], split: Split, drafts: tuple[int, float]
) -> None:
    tier, gpu = small_tier(max_num_seqs=6, draft_tokens=drafts[0], accepted_tokens=drafts[1])
    traffic = traffic_of(rows)
    result = simulate(traffic, tier=tier, gpu=gpu, replicas=1, split=split, router="prefix-aware", seed=1)
    assert np.isfinite(result.e2e_s).all()
    assert result.refused == 0
    assert result.generated_tokens == traffic.output_tokens.sum()
    assert (result.ttft_s > 0).all()
    assert (result.wait_s >= 0).all()
    many = traffic.output_tokens > 1
    link_s = Handover(tier, gpu, prefill=1)
    for k in np.flatnonzero(many):
        least_s = link_s.transfer_s(int(traffic.prompt_tokens[k]))
        assert result.e2e_s[k] - result.ttft_s[k] > least_s
    assert (result.e2e_s[~many] == result.ttft_s[~many]).all()


def test_the_transfer_is_kappa_over_the_scale_out_links() -> None:
    tier, gpu = small_tier()
    handover = Handover(tier, gpu, prefill=2)
    expected_s = 8_000 * 100_000 / (8 * gpu.scaleout_bytes_per_s * LINK_EFFICIENCY)
    assert handover.transfer_s(100_000) == pytest.approx(expected_s)
    ready_s = []
    for i, replica in enumerate((0, 0, 1)):
        sequence = Sequence(i, 0.0, 100_000, 5)
        leg = handover.begin(sequence)
        assert (leg.output_tokens, leg.prompt_tokens) == (1, 100_000)
        assert handover.end(leg, replica, 3.0) is sequence
        ready_s.append(sequence.ready_s)
    assert ready_s == pytest.approx([3 + expected_s, 3 + 2 * expected_s, 3 + expected_s])  # one link each


def run(*, rate_rps: float, split: Split | None, replicas: int) -> SimulationResult:
    generator = np.random.default_rng(5)
    count = 300
    traffic = Traffic(
        np.cumsum(generator.exponential(1 / rate_rps, count)),
        generator.integers(20_000, 60_000, count),
        generator.integers(150, 250, count),
    )
    tier, gpu = small_tier(pool_blocks=60_000, max_num_seqs=64)
    return simulate(traffic, tier=tier, gpu=gpu, replicas=replicas, split=split)


def test_prompts_no_longer_hold_up_those_who_decode() -> None:
    together = run(rate_rps=2.5, split=None, replicas=2)
    apart = run(rate_rps=2.5, split=Split(1, 1), replicas=1)
    assert np.quantile(apart.tpot_s, 0.9) < 0.8 * np.quantile(together.tpot_s, 0.9)


def test_splits_are_read_or_refused() -> None:
    assert parse_split("2:3") == Split(2, 3)
    assert Split(2, 3).times(4) == Split(8, 12)
    for text in ("2", "0:1", "1:-1", "a:b", "1:2:3", ""):
        with pytest.raises(UsageError, match="give prefill and decode replicas as P:D"):
            parse_split(text)
