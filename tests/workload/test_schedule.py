"""Laws of bursts, client mixtures and shaped rates: moments, correlation, dispersion, one vector for all."""

from typing import Any

import numpy as np
import pytest
from arrival_theory import theory_of
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from servebench.errors import UsageError
from servebench.workload.client_mix import ClientMix
from servebench.workload.load import Load
from servebench.workload.rate_curve import RateCurve
from servebench.workload.schedule import load_starts
from tests.workload.plans import plan

BURSTS = {"ratio": 8, "burst_s": 2, "calm_s": 6}
KINDS: list[dict[str, Any]] = [
    {"process": "mmpp", "bursts": BURSTS},
    {"process": "clients", "clients": {"count": 40}},
    {"shape": {"kind": "diurnal", "amplitude": 0.7, "period_s": 30}},
    {"process": "constant", "shape": {"kind": "stages", "stages": [{"duration_s": 5, "end": 2}]}},
    {
        "process": "gamma",
        "cv": 3,
        "shape": {"kind": "spike", "at_s": 2, "hold_s": 3, "factor": 6, "ramp_s": 1},
    },
    {"process": "mmpp", "bursts": BURSTS, "shape": {"kind": "diurnal", "amplitude": 1, "period_s": 20}},
]


def starts_of(
    load: dict[str, Any], *, rate_rps: float, duration_s: float, seed: int = 1
) -> NDArray[np.int64]:
    made = Load.model_validate({"rate_rps": 1, "duration_s": 1, **load})
    return load_starts(made, rate_rps=rate_rps, duration_s=duration_s, seed=seed)


def dispersion_of(starts: NDArray[np.int64], window_s: float) -> float:
    counts = np.bincount((starts / (window_s * 1e9)).astype(np.int64))[:-1]
    return float(counts.var() / counts.mean())


def test_bursts_have_the_dispersion_of_their_formula_in_short_and_long_windows() -> None:
    load = {"process": "mmpp", "bursts": BURSTS}
    starts = starts_of(load, rate_rps=50, duration_s=16_000)
    theory = theory_of(Load.model_validate({"rate_rps": 50, "duration_s": 1, **load}), rate_rps=50, seed=1)
    for window_s in (0.5, 4.0, 40.0):
        assert dispersion_of(starts, window_s) == pytest.approx(theory.dispersion(window_s), rel=0.2)


def test_bursts_begin_in_equilibrium() -> None:
    load = {"process": "mmpp", "bursts": BURSTS}
    counts = [len(starts_of(load, rate_rps=50, duration_s=1, seed=seed)) for seed in range(800)]
    assert np.mean(counts) == pytest.approx(50, abs=4 * np.std(counts) / 800**0.5)


@given(st.integers(2, 300), st.floats(0.3, 0.98), st.data())
def test_the_largest_clients_have_the_share_asked(count: int, top_share: float, data: Any) -> None:
    top = data.draw(st.integers(1, count - 1))
    if top_share < top / count:
        with pytest.raises(ValueError, match="top_share"):
            ClientMix(count=count, top=top, top_share=top_share)
        return
    shares = ClientMix(count=count, top=top, top_share=top_share).shares()
    assert shares.sum() == pytest.approx(1)
    assert shares[:top].sum() == pytest.approx(top_share, abs=1e-6)
    assert np.all(np.diff(shares) <= 1e-15)


def test_client_cvs_are_servegens_and_their_sum_keeps_rate_and_burst() -> None:
    mix = ClientMix(count=2000)
    assert np.quantile(mix.gap_cvs(3), [0.5, 0.9]) == pytest.approx([1.2, 6.2], rel=0.1)
    few = ClientMix(count=20, top=2, top_share=0.6, cv={"dist": "constant", "value": 4.0})  # type: ignore[arg-type]
    starts, clients = few.starts(rate_rps=100, duration_s=4000, seed=5)
    counts = np.bincount(clients, minlength=20)
    assert counts / counts.sum() == pytest.approx(few.shares(), abs=0.02)
    for client in (0, 1):
        gaps = np.diff(starts[clients == client])
        assert gaps.std() / gaps.mean() == pytest.approx(4, rel=0.1)
    # independent sums add variances: each client's counts have CV^2 times their mean over long windows
    assert dispersion_of(starts, 50) == pytest.approx(16, rel=0.4)
    gaps = np.diff(starts)
    assert 1.1 < gaps.std() / gaps.mean() < 4  # burstier than Poisson, less than its largest client
    assert np.corrcoef(gaps[:-1], gaps[1:])[0, 1] > 4 / len(gaps) ** 0.5  # no renewal process


def test_clients_are_independent_of_each_other() -> None:
    even = ClientMix(count=2, top=1, top_share=0.5, cv={"dist": "constant", "value": 1.0})  # type: ignore[arg-type]
    starts, clients = even.starts(rate_rps=200, duration_s=500, seed=9)
    first, second = (np.bincount(starts[clients == k] // 10**9, minlength=500)[:500] for k in (0, 1))
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.15
    gaps = np.diff(starts) / 1e9  # two independent Poisson processes are one
    assert stats.kstest(gaps, "expon", args=(0, 1 / 200)).pvalue > 0.001


def test_a_day_has_its_peak_its_trough_and_its_mean() -> None:
    shape = {"kind": "diurnal", "amplitude": 0.8, "period_s": 86_400, "peak_s": 50_400}
    starts = starts_of({"shape": shape}, rate_rps=2, duration_s=86_400)
    assert len(starts) == pytest.approx(2 * 86_400, abs=4 * (2 * 86_400) ** 0.5)
    hours = np.bincount(starts // (3600 * 10**9), minlength=24)
    middle = (np.arange(24) + 0.5) * 3600
    law = 7200 * (1 + 0.8 * np.sinc(1 / 24) * np.cos(2 * np.pi * (middle - 50_400) / 86_400))
    assert stats.chisquare(hours, law * hours.sum() / law.sum()).pvalue > 0.001
    minute = starts[(starts > 14 * 3600e9) & (starts < 14.5 * 3600e9)]
    assert dispersion_of(minute - minute[0], 10) == pytest.approx(
        1, abs=0.4
    )  # Poisson where it hardly changes


def test_moved_poisson_arrivals_have_the_law_of_thinned_ones() -> None:
    """Lewis and Shedler: keep an arrival of the peak rate with probability rate(t) / peak."""
    shape = {"kind": "diurnal", "amplitude": 0.9, "period_s": 100}
    moved = starts_of({"shape": shape}, rate_rps=40, duration_s=2000, seed=3)
    dense = starts_of({}, rate_rps=40 * 1.9, duration_s=2000, seed=4)
    factor = 1 + 0.9 * np.cos(2 * np.pi * dense / 1e9 / 100)
    kept = dense[np.random.default_rng(5).random(len(dense)) < factor / 1.9]
    assert len(moved) == pytest.approx(len(kept), abs=6 * len(kept) ** 0.5)
    assert stats.ks_2samp(moved % 10**11, kept % 10**11).pvalue > 0.001
    assert stats.ks_2samp(np.diff(moved), np.diff(kept)).pvalue > 0.001


def test_constant_arrivals_on_a_ramp_are_an_exact_ramp() -> None:
    stages = [
        {"duration_s": 100, "end": 1},
        {"duration_s": 50, "start": 2, "end": 2},
        {"duration_s": 50, "start": 0, "end": 0},
    ]
    load = {"process": "constant", "shape": {"kind": "stages", "stages": stages}}
    starts = starts_of(load, rate_rps=10, duration_s=200) / 1e9
    ramp = starts[starts < 100]
    assert np.allclose(ramp, np.sqrt(20 * np.arange(len(ramp))))  # area t^2 / 200 of 10/s reaches k / 10
    step = starts[(starts >= 100) & (starts < 150)]
    assert len(ramp) == 500
    assert np.allclose(np.diff(step), 0.05)
    assert not np.any(starts > 150)


@pytest.mark.parametrize(
    ("process", "law"),
    [({"process": "poisson"}, stats.expon()), ({"process": "gamma", "cv": 2.0}, stats.gamma(0.25, scale=4))],
)
def test_on_ramps_and_steps_arrivals_are_the_constant_rates_in_the_rates_own_time(
    process: dict[str, Any], law: Any
) -> None:
    """Time-rescaling (Brown et al. 2002): at the areas under the rate the gaps have the law of rate 1."""
    ramp, step = {"duration_s": 100, "start": 0, "end": 4}, {"duration_s": 50, "start": 1, "end": 1}
    load = {**process, "shape": {"kind": "stages", "stages": [ramp, step]}}
    chances, ramped, stepped = [], [], []
    for seed in range(20):
        times = starts_of(load, rate_rps=20, duration_s=150, seed=seed) / 1e9
        areas = 20 * np.where(times < 100, times**2 / 50, 200 + (times - 100))  # requests expected until then
        gaps = np.diff(areas)
        seen = law.cdf(gaps[gaps > 1e-6])  # whole ns blur what is shorter
        chances.append(stats.kstest(seen, "uniform", args=(law.cdf(1e-6), 1 - law.cdf(1e-6))).pvalue)
        ramped.append(np.count_nonzero(times < 100))
        stepped.append(np.count_nonzero(times >= 100))
    assert stats.kstest(chances, "uniform").pvalue > 1e-4
    for counts, expected in ((ramped, 4000), (stepped, 1000)):
        error = float(np.std(counts, ddof=1)) / 20**0.5
        assert np.mean(counts) == pytest.approx(expected, abs=4 * error)
        assert 4 * error < 0.1 * expected, "it would see another rate"


def test_a_spike_is_a_spike_and_ends() -> None:
    load = {"shape": {"kind": "spike", "at_s": 100, "hold_s": 60, "factor": 5}}
    starts = starts_of(load, rate_rps=100, duration_s=300) / 1e9
    for begin_s, end_s, rate_rps in ((0, 100, 100), (100, 160, 500), (160, 300, 100)):
        seen = np.count_nonzero((starts >= begin_s) & (starts < end_s))
        expected = rate_rps * (end_s - begin_s)
        assert seen == pytest.approx(expected, abs=4 * expected**0.5)


def test_gamma_gaps_keep_their_cv_on_a_ramp() -> None:
    stages = {"kind": "stages", "stages": [{"duration_s": 1000, "start": 0.5, "end": 1.5}]}
    load = {"process": "gamma", "cv": 3, "shape": stages}
    made = Load.model_validate({"rate_rps": 1, "duration_s": 1, **load})
    starts = starts_of(load, rate_rps=100, duration_s=1000) / 1e9
    assert made.shape is not None
    gaps = np.diff(starts) * made.shape.curve(1000).at(starts[1:])
    assert gaps.std() / gaps.mean() == pytest.approx(3, rel=0.05)


@given(st.lists(st.tuples(st.floats(0, 50), st.floats(0, 5)), min_size=2, max_size=8), st.data())
def test_times_and_areas_are_inverse(raw: list[tuple[float, float]], data: Any) -> None:
    steps = sorted(time_s for time_s, _ in raw)
    points = [(t - steps[0], factor) for t, (_, factor) in zip(steps, raw, strict=True)]
    curve = RateCurve.through([*points, (points[-1][0] + 1, 1.0)])
    end_s = data.draw(st.floats(0, 80))
    areas = np.linspace(0, curve.area_s(end_s), 20)
    times = curve.times_s(areas)
    assert np.all(np.diff(times) >= -1e-12)  # to the rounding of times near 0
    assert [curve.area_s(float(t)) for t in times] == pytest.approx(areas.tolist(), rel=1e-6, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(KINDS), st.integers(0, 2**40), st.floats(0.5, 20), st.floats(0.1, 20))
def test_a_longer_run_begins_with_the_shorter_ones_arrivals(
    load: dict[str, Any], seed: int, short_s: float, more_s: float
) -> None:
    short = starts_of(load, rate_rps=30, duration_s=short_s, seed=seed)
    long = starts_of(load, rate_rps=30, duration_s=short_s + more_s, seed=seed)
    assert short.dtype == np.int64
    assert np.all(np.diff(short) >= 0)
    assert np.array_equal(long[: len(short)], short)
    assert np.all(long[len(short) :] >= round(short_s * 1e9))


@pytest.mark.parametrize("load", KINDS)
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_workers_slice_one_vector(load: dict[str, Any], workers: int) -> None:
    one = plan(scenario_fields={"load": {"rate_rps": 40, "duration_s": 15, **load}}, seed=8)
    whole = one.build()
    assert len(whole.intended_ns) > 100
    again = np.empty_like(whole.intended_ns)
    for k in range(workers):
        workload = type(one).model_validate_json(one.model_dump_json()).build()
        assert workload.schedule_hash == whole.schedule_hash
        again[k::workers] = workload.intended_ns[k::workers]
    assert np.array_equal(again, whole.intended_ns)


def test_the_rate_of_a_run_scales_the_whole_shape() -> None:
    load = {
        "rate_rps": 10,
        "duration_s": 100,
        "shape": {"kind": "spike", "at_s": 50, "hold_s": 10, "factor": 4},
    }
    one = plan(scenario_fields={"load": load}, rate_rps=50.0).build()
    assert len(one.intended_ns) == pytest.approx(50 * 130, abs=4 * (50 * 130) ** 0.5)


def test_what_has_no_schedule_is_refused() -> None:
    nothing = {"shape": {"kind": "stages", "stages": [{"duration_s": 5, "start": 0, "end": 0}]}}
    with pytest.raises(UsageError, match="the rate is 0"):
        starts_of(nothing, rate_rps=5, duration_s=5)
    for load in KINDS:
        with pytest.raises(UsageError, match="lower the rate"):
            starts_of(load, rate_rps=1e9, duration_s=1e4)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"process": "mmpp", "bursts": {"ratio": 2, "burst_s": 1e-9, "calm_s": 1e-9}}, "too short for 60 s"),
        ({"shape": {"kind": "diurnal", "amplitude": 1, "period_s": 1e-6}}, "too short for a run of 60 s"),
    ],
)
def test_changes_too_fast_to_draw_are_refused(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        starts_of(fields, rate_rps=5, duration_s=60)
