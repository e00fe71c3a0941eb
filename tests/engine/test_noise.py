"""Counter-based draws: independent of order, uniform, and as skewed as asked."""

import numpy as np
import pytest

from servebench.engine.noise import Lognormal, uniform


def test_uniform_is_uniform_and_uncorrelated_over_counters_and_seeds() -> None:
    by_counter = np.array([uniform(1, i) for i in range(20_000)])
    by_seed = np.array([uniform(i, 1) for i in range(20_000)])
    for draws in (by_counter, by_seed):
        counts, _ = np.histogram(draws, bins=20, range=(0, 1))
        assert ((counts - 1_000) ** 2 / 1_000).sum() < 43.8  # chi-square, 19 degrees, 0.1 %
        assert abs(np.corrcoef(draws[1:], draws[:-1])[0, 1]) < 0.025
    assert abs(np.corrcoef(by_counter, by_seed)[0, 1]) < 0.025
    streams = np.array([[uniform(4, i, s) for i in range(5_000)] for s in (1, 2, 3)])
    assert np.abs(np.corrcoef(streams) - np.eye(3)).max() < 0.05


@pytest.mark.parametrize("cv", [0.0, 0.05, 0.2])
def test_lognormal_has_mean_one_and_its_cv(cv: float) -> None:
    draw = Lognormal(cv, seed=3, stream=1)
    factors = np.array([draw.factor(i) for i in range(20_000)])
    assert factors.mean() == pytest.approx(1, abs=0.006)
    assert factors.std() == pytest.approx(cv, rel=0.03, abs=1e-12)
    assert draw.factor(777) == factors[777]


@pytest.mark.parametrize("start", [0, 7, 10**12])
def test_a_range_of_factors_is_each_of_them(start: int) -> None:
    draw = Lognormal(0.2, seed=2**40 + 3, stream=2)
    one_by_one = [draw.factor(start + i) for i in range(300)]
    assert draw.factors(start, 300) == pytest.approx(one_by_one, rel=1e-12)
    assert list(Lognormal(0.0, seed=1, stream=1).factors(start, 3)) == [1.0, 1.0, 1.0]
