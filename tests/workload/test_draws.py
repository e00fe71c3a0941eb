"""A draw belongs to (seed, purpose, id): how it is asked for does not matter."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from servebench.workload.draws import uniform, uniforms


@given(st.integers(0, 2**63), st.integers(0, 10**12), st.integers(1, 40))
def test_a_range_gives_what_single_ids_give(seed: int, start: int, count: int) -> None:
    together = uniforms(seed, "p", start, count)
    assert together.tolist() == [uniform(seed, "p", id) for id in range(start, start + count)]


@given(st.integers(0, 2**32), st.integers(0, 1000), st.integers(0, 30), st.integers(1, 30))
def test_a_range_is_a_part_of_any_longer_one(seed: int, start: int, skip: int, count: int) -> None:
    assert np.array_equal(
        uniforms(seed, "p", start, skip + count)[skip:], uniforms(seed, "p", start + skip, count)
    )


def test_uniform_open_and_uncorrelated() -> None:
    u = uniforms(3, "p", 0, 100_000)
    assert u.min() > 0
    assert u.max() < 1
    assert stats.kstest(u, "uniform").pvalue > 0.001
    assert abs(np.corrcoef(u[:-1], u[1:])[0, 1]) < 4 / 100_000**0.5
    for other in (uniforms(3, "q", 0, 100_000), uniforms(4, "p", 0, 100_000)):
        assert abs(np.corrcoef(u, other)[0, 1]) < 4 / 100_000**0.5
