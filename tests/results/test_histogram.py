"""The log histogram: its error, and merges that are exact in any order."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servebench.results.histogram import MAX_RELATIVE_ERROR, LogHistogram
from servebench.results.percentiles import nearest_rank

VALUES = st.lists(st.floats(2e-6, 1e5), min_size=1, max_size=200)


@given(values=VALUES, p=st.floats(0.01, 0.999))
@settings(deadline=None)
def test_quantiles_are_within_the_stated_error(values: list[float], p: float) -> None:
    histogram = LogHistogram()
    histogram.add(np.array(values))
    exact = nearest_rank(np.sort(np.array(values)), p)
    found = histogram.quantile(p)
    assert found is not None
    assert abs(found / exact - 1) <= MAX_RELATIVE_ERROR <= 0.00391


@given(values=VALUES, cuts=st.lists(st.integers(0, 200), max_size=5), seed=st.integers(0, 99))
@settings(deadline=None)
def test_merging_any_parts_in_any_order_is_exact(values: list[float], cuts: list[int], seed: int) -> None:
    whole = LogHistogram()
    whole.add(np.array([*values, math.inf]))
    parts = np.split(np.array([*values, math.inf]), sorted(min(cut, len(values)) for cut in cuts))
    merged, from_lists = LogHistogram(), LogHistogram()
    for position in np.random.default_rng(seed).permutation(len(parts)):
        part = LogHistogram()
        part.add(parts[position])
        merged.merge(part)
        from_lists.merge_lists(*part.to_lists())
    for other in (merged, from_lists):
        np.testing.assert_array_equal(other.counts, whole.counts)
        assert other.infinite == whole.infinite == 1
        assert other.n == len(values) + 1


def test_ends_zero_and_failures() -> None:
    histogram = LogHistogram()
    assert histogram.quantile(0.5) is None
    histogram.add(np.array([0.0, -1e-6, 1e9]))
    assert histogram.n == 3
    assert histogram.quantile(0.5) == pytest.approx(1e-6, rel=0.1)
    histogram.add(np.array([math.inf] * 5))
    assert histogram.quantile(0.9) == math.inf
