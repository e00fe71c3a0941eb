"""Laws of the arrival processes: rate, CV, independence of gaps, dispersion, and one vector for all
workers.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from servebench.errors import UsageError
from servebench.workload.arrivals import Process, intended_starts

N = 100_000
PROCESSES: list[tuple[Process, float]] = [("poisson", 1.0), ("gamma", 0.5), ("gamma", 2.0), ("gamma", 4.0)]


def dispersion(starts: np.ndarray[tuple[int], np.dtype[np.int64]], window_ns: int) -> float:
    """Variance over mean of the counts in windows: 1 for Poisson, CV^2 for a renewal process over long
    windows.
    """
    counts = np.bincount(starts // window_ns)[:-1]
    return float(counts.var() / counts.mean())


@pytest.mark.parametrize(("process", "cv"), PROCESSES)
def test_renewal_processes_have_their_rate_cv_and_gap_law(process: Process, cv: float) -> None:
    starts = intended_starts(process, rate_rps=500, duration_s=N / 500, cv=cv, seed=11)
    gaps = np.diff(starts) / 1e9
    assert len(starts) == pytest.approx(N, abs=4 * cv * N**0.5)
    assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.05)
    assert abs(np.corrcoef(gaps[:-1], gaps[1:])[0, 1]) < 4 / N**0.5
    shape = cv**-2
    law, least_s = stats.gamma(shape, scale=1 / (500 * shape)), 1e-6  # whole ns blur what is shorter
    below = law.cdf(least_s)
    seen = gaps[gaps > least_s]
    assert len(seen) / len(gaps) == pytest.approx(1 - below, abs=0.01)
    assert stats.kstest(seen, lambda x: (law.cdf(x) - below) / (1 - below)).pvalue > 0.001


@pytest.mark.parametrize(("process", "cv"), PROCESSES)
def test_dispersion_is_that_of_one_process_not_of_copies(process: Process, cv: float) -> None:
    """Workers that each draw with the same seed would pile up W-fold arrivals: W times this dispersion."""
    starts = intended_starts(process, rate_rps=500, duration_s=N / 500, cv=cv, seed=12)
    assert dispersion(starts, 10**9) == pytest.approx(cv**2, rel=0.4)
    copies = np.sort(np.concatenate([starts] * 4))
    assert dispersion(copies, 10**9) > 2.5 * cv**2  # the test would see it


def test_constant_is_constant_and_does_not_drift() -> None:
    starts = intended_starts("constant", rate_rps=3, duration_s=10_000)
    assert len(starts) == 30_000
    assert np.all(np.abs(starts - np.arange(30_000) * (1e9 / 3)) <= 1)
    assert set(np.diff(starts).tolist()) <= {333_333_333, 333_333_334}


@pytest.mark.parametrize("cv", [0.5, 1.0, 4.0])
def test_the_mean_count_is_rate_times_duration_from_the_first_second(cv: float) -> None:
    """An ordinary renewal process has (CV^2 - 1) / 2 arrivals more: 7.5 of 40 at CV 4."""
    counts = [
        len(intended_starts("gamma", rate_rps=40, duration_s=1, cv=cv, seed=seed)) for seed in range(600)
    ]
    assert np.mean(counts) == pytest.approx(40, abs=4 * np.std(counts) / 600**0.5)


@given(
    st.sampled_from(PROCESSES),
    st.floats(0.5, 300),
    st.floats(0.05, 20),
    st.integers(0, 2**40),
    st.sampled_from([1, 2, 4]),
)
def test_slices_of_workers_are_a_partition(
    process: tuple[Process, float], rate_rps: float, duration_s: float, seed: int, workers: int
) -> None:
    name, cv = process
    starts = intended_starts(name, rate_rps=rate_rps, duration_s=duration_s, cv=cv, seed=seed)
    assert starts.dtype == np.int64
    assert np.all(np.diff(starts) >= 0)
    if len(starts):
        assert starts[0] >= 0
        assert starts[-1] < round(duration_s * 1e9)
    parts = [
        intended_starts(name, rate_rps=rate_rps, duration_s=duration_s, cv=cv, seed=seed)[k::workers]
        for k in range(workers)
    ]
    again = np.empty_like(starts)
    for k, part in enumerate(parts):
        again[k::workers] = part
    assert np.array_equal(again, starts)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(PROCESSES), st.integers(0, 1000), st.floats(0.5, 10), st.floats(0.5, 10))
def test_a_longer_run_begins_with_the_shorter_ones_arrivals(
    process: tuple[Process, float], seed: int, short_s: float, more_s: float
) -> None:
    name, cv = process
    short = intended_starts(name, rate_rps=50, duration_s=short_s, cv=cv, seed=seed)
    long = intended_starts(name, rate_rps=50, duration_s=short_s + more_s, cv=cv, seed=seed)
    assert np.array_equal(long[: len(short)], short)
    assert np.all(long[len(short) :] >= round(short_s * 1e9))


def test_seeds_differ() -> None:
    first, second = (intended_starts("poisson", rate_rps=50, duration_s=10, seed=seed) for seed in (1, 2))
    assert not np.intersect1d(first, second).size


@pytest.mark.parametrize(
    "wrong",
    [
        {"rate_rps": 0},
        {"rate_rps": float("inf")},
        {"duration_s": -1},
        {"cv": 0},
        {"rate_rps": 1e9, "duration_s": 1e4},
    ],
)
def test_what_has_no_schedule_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        intended_starts(
            "gamma",
            rate_rps=wrong.get("rate_rps", 1),
            duration_s=wrong.get("duration_s", 1),
            cv=wrong.get("cv", 1),
        )
