"""Moments of arrivals: by hand, and by the laws of the processes."""

import numpy as np
import pytest
from arrival_theory import theory_of

from servebench.workload.arrivals import intended_starts
from servebench.workload.bursts import Bursts
from servebench.workload.load import Load
from servebench.workload.moments import gap_cv, index_of_dispersion
from servebench.workload.schedule import load_starts

NS = 10**9


def test_by_hand() -> None:
    starts = np.array([0, 1, 1, 4, 12, 13]) * NS  # gaps 1 0 3 8 1: mean 2.6, variance 8.24
    assert gap_cv(starts) == pytest.approx(8.24**0.5 / 2.6)
    # of [0, 24) in windows of 2 s: 3 0 1 0 0 0 2 0 0 0 0 0: mean 0.5, mean of squares 14 / 12
    assert index_of_dispersion(starts, window_s=2, duration_s=24) == pytest.approx((14 / 12 - 0.25) / 0.5)
    # a window that is not whole stays out: eleven of 1.25 s, the arrivals at 0 1 1 | 4 | 12 | 13
    counts = np.array([3, 0, 0, 1, 0, 0, 0, 0, 0, 1, 1])
    told = index_of_dispersion(starts, window_s=1.25, duration_s=13.9)
    assert told == pytest.approx(counts.var() / counts.mean())


def test_where_there_is_too_little_to_tell() -> None:
    starts = np.arange(5) * NS
    assert gap_cv(starts[:2]) is None
    assert gap_cv(starts * 0) is None
    assert index_of_dispersion(starts, window_s=1, duration_s=9.9) is None
    assert index_of_dispersion(starts[:0], window_s=1, duration_s=90) is None
    assert gap_cv(starts) == 0


@pytest.mark.parametrize("cv", [0.5, 1.0, 2.0])
def test_renewal_processes_have_their_cv_and_disperse_by_its_square(cv: float) -> None:
    starts = intended_starts("gamma", rate_rps=50, duration_s=4000, cv=cv, seed=5)
    assert gap_cv(starts) == pytest.approx(cv, rel=0.03)
    assert index_of_dispersion(starts, window_s=10, duration_s=4000) == pytest.approx(cv**2, rel=0.25)


def test_lasting_bursts_disperse_the_more_the_longer_the_window() -> None:
    bursts = Bursts(ratio=6, burst_s=10, calm_s=30)
    load = Load(rate_rps=20, process="mmpp", bursts=bursts, duration_s=20_000)
    starts = load_starts(load, rate_rps=20, duration_s=20_000, seed=3)
    told = [index_of_dispersion(starts, window_s=w, duration_s=20_000) for w in (1, 10, 60)]
    theory = theory_of(load, rate_rps=20, seed=3)
    wanted = [theory.dispersion(w) for w in (1, 10, 60)]
    assert told == pytest.approx(wanted, rel=0.25)
