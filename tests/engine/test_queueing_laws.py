"""The replica as a queue whose answer is known: M/D/1, and Little's law under continuous batching."""

from itertools import pairwise
from statistics import fmean

import numpy as np
import pytest
from numpy.typing import NDArray

from servebench.engine.replica import Replica
from servebench.engine.sequence import Sequence
from tests.engine.driving import drive, small_tier

Floats = NDArray[np.float64]


def lindley_waits(gaps_s: Floats, service_s: float) -> Floats:
    """Waits of one server with fixed service: W_n = max(0, W_(n-1) + D - gap_n), W_0 = 0 (Lindley 1952)."""
    walk = np.concatenate([[0.0], np.cumsum(service_s - gaps_s)])
    return np.asarray(walk - np.minimum.accumulate(walk))


@pytest.mark.parametrize("rho", [0.5, 0.8])
def test_one_at_a_time_is_an_m_d_1_queue(rho: float) -> None:
    tier, gpu = small_tier(max_num_seqs=1)
    alone = Sequence(0, 0.0, 200, 3)
    service_s = drive(Replica(tier, gpu), [alone])

    # the replica is the single-server recursion, request by request
    generator = np.random.default_rng(17)
    gaps_s = generator.exponential(service_s / rho, 8_000)
    arrivals_s = np.concatenate([[0.0], np.cumsum(gaps_s)])
    sequences = [Sequence(i, float(t), 200, 3) for i, t in enumerate(arrivals_s)]
    drive(Replica(tier, gpu), sequences)
    waits_s = np.array([(s.admitted_s or 0.0) - s.arrival_s for s in sequences])
    expected_s = lindley_waits(gaps_s, service_s)
    assert np.abs(waits_s - expected_s).max() < 1e-6

    # and the recursion, over enough arrivals, has the mean wait of M/D/1: rho D / (2 (1 - rho))
    formula_s = rho * service_s / (2 * (1 - rho))
    long_run_s = lindley_waits(generator.exponential(service_s / rho, 3_000_000), service_s).mean()
    assert long_run_s == pytest.approx(formula_s, rel=0.015)
    assert waits_s.mean() == pytest.approx(formula_s, rel=0.15)  # 8,000 requests only


def test_littles_law() -> None:
    tier, gpu = small_tier(pool_blocks=300, max_num_seqs=16, step_noise_cv=0.05)
    generator = np.random.default_rng(23)
    arrivals_s = np.cumsum(generator.exponential(1 / 25, 1_500))
    sequences = [
        Sequence(i, float(t), int(p), int(o))
        for i, (t, p, o) in enumerate(
            zip(
                arrivals_s,
                generator.integers(10, 1_500, 1_500),
                generator.integers(5, 150, 1_500),
                strict=True,
            )
        )
    ]
    in_system: list[tuple[float, int]] = [(0.0, 0)]
    end_s = drive(Replica(tier, gpu, seed=2), sequences, in_system=in_system)
    area = sum(count * (after_s - at_s) for (at_s, count), (after_s, _) in pairwise(in_system))
    residence_s = fmean((s.finished_s or 0.0) - s.arrival_s for s in sequences)
    assert area / end_s == pytest.approx(len(sequences) / end_s * residence_s, rel=1e-6)
    assert max(count for _, count in in_system) > 16  # there was a queue
