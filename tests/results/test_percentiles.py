"""Nearest rank agrees with numpy; the interval covers as it says; small samples have no percentile."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servebench.results.percentiles import (
    ascending_s,
    distribution,
    interval_ranks,
    minimum_n,
    nearest_rank,
    percentile,
)

VALUES = st.lists(st.floats(0, 1e6, allow_nan=False), min_size=1, max_size=400)


@given(values=VALUES, p=st.sampled_from([0.5, 0.9, 0.95, 0.99, 0.999]))
def test_nearest_rank_is_numpys_inverted_cdf(values: list[float], p: float) -> None:
    ascending = np.sort(np.array(values))
    assert nearest_rank(ascending, p) == np.percentile(ascending, 100 * p, method="inverted_cdf")


@given(n=st.integers(1, 3000), percent=st.integers(1, 99))
def test_the_rank_is_the_smallest_that_reaches_the_share(n: int, percent: int) -> None:
    """In integers, so that no rounding decides: 100 rank >= percent n > 100 (rank - 1)."""
    rank = int(nearest_rank(np.arange(1.0, n + 1), percent / 100))
    assert 100 * rank >= percent * n > 100 * (rank - 1)


@pytest.mark.parametrize(("p", "n"), [(0.5, 6), (0.9, 36), (0.95, 72), (0.99, 368), (0.999, 3688)])
def test_the_smallest_sample_of_each_percentile(p: float, n: int) -> None:
    assert minimum_n(p) == n
    assert interval_ranks(n - 1, p) is None
    assert percentile(np.arange(float(n - 1)), p) is None
    assert percentile(np.arange(float(n)), p) is not None


@settings(deadline=None)  # scipy is imported on first use
@given(n=st.integers(400, 5000), p=st.sampled_from([0.5, 0.95, 0.99]))
def test_the_interval_holds_the_percentile_and_95_percent(n: int, p: float) -> None:
    from scipy.special import bdtr

    ranks = interval_ranks(n, p)
    assert ranks is not None
    low, high = ranks
    assert 1 <= low <= math.ceil(p * n) <= high <= n
    # P(x_(low) <= true quantile < x_(high)) for a continuous distribution
    assert bdtr(high - 1, n, p) - bdtr(low - 1, n, p) >= 0.95


def test_failures_are_in_the_tail_and_the_undefined_are_out() -> None:
    values = np.concatenate((np.full(940, 1.0), np.full(60, np.inf), np.full(500, np.nan)))
    found = distribution(values)
    assert found.n == 1000
    assert found.mean == 1.0
    assert found.p50 is not None
    assert found.p50.value == 1.0
    assert found.p95 is not None
    assert math.isinf(found.p95.value)


def test_nothing_has_no_percentile() -> None:
    found = distribution(np.array([]))
    assert (found.n, found.mean, found.p50) == (0, None, None)


@pytest.mark.parametrize("n", [0, 1, 1000, 2**18 - 1, 2**18, 700_001])
@pytest.mark.parametrize("spread_us", [5, 2**18, 2**18 + 1, 2**31 - 1])
@pytest.mark.parametrize("least_us", [0, -3])
def test_counting_is_sorting(n: int, spread_us: int, least_us: int) -> None:
    rng = np.random.default_rng(n)
    some_long = np.where(rng.random(n) < 0.01, rng.integers(spread_us, size=n), rng.integers(20_000, size=n))
    values_us = np.maximum(some_long - rng.integers(9, size=n), least_us).astype(np.int32)
    np.testing.assert_array_equal(ascending_s(values_us), np.sort(values_us) / 1e6)
