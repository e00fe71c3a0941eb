"""The theory of arrivals against closed forms and simulations that share nothing with it; the product's draws
against the theory; and that a wrong process is seen.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from arrival_statistics import (
    MAX_DISTANCE,
    MIN_CHANCE,
    STATISTICS,
    Floats,
    Ints,
    even_chance,
    gap_distance,
    judge,
    pooled_distance,
    residuals,
)
from arrival_theory import Mmpp, Superposition, Theory, theory_of

from servebench.workload.load import Load
from servebench.workload.schedule import load_starts

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "arrivals.py"
RATE_RPS, SECONDS = 100.0, 60.0
SEEDS = range(20)
BURSTS = {"ratio": 8, "burst_s": 0.5, "calm_s": 1.5}
LOADS: dict[str, dict[str, Any]] = {
    "poisson": {"process": "poisson"},
    "gamma, even": {"process": "gamma", "cv": 0.3},
    "gamma, bursty": {"process": "gamma", "cv": 3.0},
    "mmpp": {"process": "mmpp", "bursts": BURSTS},
    "clients": {"process": "clients", "clients": {"count": 40, "top": 5, "top_share": 0.6}},
    "one large client": {
        "process": "clients",
        "clients": {"count": 5, "top": 1, "top_share": 0.8, "cv": {"dist": "constant", "value": 3.0}},
    },
    "even clients": {
        "process": "clients",
        "clients": {"count": 4, "top": 1, "top_share": 0.4, "cv": {"dist": "constant", "value": 0.2}},
    },
}


def superposition(*clients: tuple[float, float]) -> Superposition:
    """Of (rate, CV) each."""
    rates, cvs = np.array(clients).T
    return Superposition(rates, cvs**-2.0)


def load_of(load: dict[str, Any]) -> Load:
    return Load.model_validate({"rate_rps": RATE_RPS, "duration_s": SECONDS, **load})


def drawn(load: dict[str, Any]) -> tuple[list[Ints], list[Theory]]:
    made = load_of(load)
    runs = [load_starts(made, rate_rps=RATE_RPS, duration_s=SECONDS, seed=seed) for seed in SEEDS]
    return runs, [theory_of(made, rate_rps=RATE_RPS, seed=seed) for seed in SEEDS]


def failures(runs: list[Ints], theories: list[Theory], seconds: float = SECONDS) -> set[str]:
    """The statistics that tell these runs from their theories."""
    made = [
        residuals(starts, theory, seconds=seconds, window_s=1.0)
        for starts, theory in zip(runs, theories, strict=True)
    ]
    found = {name for name in STATISTICS if not judge([one[name] for one in made]).passes}
    if theories[0].independent_gaps:
        chances = [gap_distance(starts, theory)[1] for starts, theory in zip(runs, theories, strict=True)]
        distant = even_chance(chances) < MIN_CHANCE
    else:
        distant = pooled_distance(runs, theories) > MAX_DISTANCE
    return found | ({"distribution"} if distant else set())


# the theory


def simulated(theory: Superposition, *, seconds: float, seed: int) -> Floats:
    """Starts in s: each process begun at a renewal, and looked at long after."""
    rng = np.random.default_rng(seed)
    parts = []
    for rate, shape in zip(theory.rates_rps, theory.shapes, strict=True):
        settled_s = 60 / (rate * min(shape, 1.0)) + rng.uniform() / rate
        count = int(2 * rate * (settled_s + seconds) + 40 / shape + 100)
        ends = np.cumsum(rng.gamma(shape, 1 / (shape * rate), count)) - settled_s
        assert ends[-1] > seconds
        parts.append(ends[(ends >= 0) & (ends < seconds)])
    return np.sort(np.concatenate(parts))


@pytest.mark.parametrize(
    "clients",
    [
        [(10.0, 0.3), (5.0, 3.0)],
        [(20.0, 2.0), (6.0, 0.5), (3.0, 1.0), (1.0, 4.0)],
        [(5.0, 0.1), (5.0, 0.1), (0.5, 2.0)],
        [(12.0, 2.0)],
    ],
)
def test_the_theory_of_mixtures_is_what_a_simulation_gives(clients: list[tuple[float, float]]) -> None:
    theory = superposition(*clients)
    seconds, window_s = 1500.0, 0.7
    points_s = np.array([0.1, 0.5, 1.0, 2.0, 4.0]) / theory.rate_rps
    rows = []
    for seed in range(30):
        starts = simulated(theory, seconds=seconds, seed=seed)
        gaps = np.diff(starts)
        counts, _ = np.histogram(starts, np.arange(0, seconds, window_s))
        rows.append([
            gaps.std() / gaps.mean(), np.corrcoef(gaps[1:], gaps[:-1])[0, 1], counts.var() / counts.mean(),
            *(gaps <= points_s[:, None]).mean(axis=1),
        ])  # fmt: skip
    moments = theory.moments
    wanted = [moments.cv, moments.lag1, theory.dispersion(window_s), *theory.gap_cdf(points_s)]
    means, errors = np.mean(rows, axis=0), np.std(rows, axis=0, ddof=1) / 30**0.5
    assert np.all(np.abs(means - wanted) <= 4 * errors + 1e-9), (means - wanted, errors)
    assert np.all(errors[3:] < 0.005), "it would see a difference"


def test_mixtures_have_their_closed_forms() -> None:
    poisson = superposition((3.0, 1.0), (5.0, 1.0), (0.1, 1.0))  # Poisson processes are one
    assert (poisson.moments.cv, poisson.moments.lag1) == pytest.approx((1, 0), abs=1e-9)
    assert poisson.dispersion(2.0) == pytest.approx(1)
    points_s = np.array([0.01, 0.1, 0.5])
    assert poisson.gap_cdf(points_s) == pytest.approx(1 - np.exp(-8.1 * points_s))
    for cv in (0.4, 2.0, 20.0):
        one = superposition((7.0, cv))
        assert (one.moments.cv, one.moments.lag1) == pytest.approx((cv, 0), abs=1e-8)
        long_s = 1e3 * cv**2 + 10  # I(w) -> CV^2 + (1 - CV^4) / (6 rate w)
        assert one.dispersion(long_s) == pytest.approx(cv**2 + (1 - cv**4) / (42 * long_s), rel=1e-5)
    # two clocks at a random distance u: gaps u and 1 - u in turn; CV^2 = 1/3
    clocks = superposition((1.0, 0.05), (1.0, 0.05)).moments
    assert (clocks.cv, clocks.lag1) == pytest.approx((3**-0.5, -1), abs=0.03)


def test_many_small_clients_look_poisson_from_gap_to_gap_and_not_in_the_long_run() -> None:
    """Albin 1982: why a mixture is not judged by the CV of its gaps."""
    few, many = (superposition(*[(100 / n, 1.5)] * n) for n in (3, 300))
    assert few.moments.cv > 1.3
    assert many.moments.cv == pytest.approx(1, abs=0.1)
    assert many.dispersion(10_000.0) == pytest.approx(2.25, rel=0.02)


@pytest.mark.parametrize("ratio", [2.0, 8.0, 50.0])
def test_the_moments_of_bursts_are_those_of_their_matrices(ratio: float) -> None:
    """By D0 = Q - L and D1 = L (MMPP Cookbook, section 2)."""
    bursts = Mmpp(20 * ratio, 20.0, 1 / 2, 1 / 6)
    rates = np.array([bursts.burst_rps, bursts.calm_rps])
    moves = np.array([[-bursts.leave_burst, bursts.leave_burst], [bursts.leave_calm, -bursts.leave_calm]])
    inverse = np.linalg.inv(np.diag(rates) - moves)
    stay = np.array([bursts.leave_calm, bursts.leave_burst]) / (bursts.leave_burst + bursts.leave_calm)
    seen, ones = stay * rates / (stay @ rates), np.ones(2)
    mean = seen @ inverse @ ones
    variance = 2 * seen @ inverse @ inverse @ ones - mean**2
    joint = seen @ inverse @ inverse @ np.diag(rates) @ inverse @ ones
    assert bursts.rate_rps == pytest.approx(1 / mean)
    assert bursts.moments.cv == pytest.approx(variance**0.5 / mean)
    assert bursts.moments.lag1 == pytest.approx((joint - mean**2) / variance)
    assert bursts.moments.lag1 > 0.03, "which no renewal process has"
    t = np.linspace(0, 60 / bursts.calm_rps, 200_001)
    assert np.trapezoid(1 - bursts.gap_cdf(t), t) == pytest.approx(mean, rel=1e-4)


# the product


@pytest.mark.parametrize("name", LOADS)
def test_draws_have_the_rate_cv_correlation_dispersion_and_distribution_of_their_theory(name: str) -> None:
    assert failures(*drawn(LOADS[name])) == set()


@pytest.mark.parametrize("name", LOADS)
def test_workers_that_draw_the_same_would_be_seen(name: str) -> None:
    """Two that each send the same half: the rate is right, the gaps are not."""
    runs, theories = drawn(LOADS[name])
    found = failures([np.repeat(starts[::2], 2) for starts in runs], theories)
    assert {"cv", "distribution"} <= found
    assert "rate" not in found


def _shuffled(starts: Ints, rng: np.random.Generator) -> Ints:
    return np.cumsum(rng.permutation(np.diff(starts, prepend=0)))


def _poisson(starts: Ints, rng: np.random.Generator) -> Ints:
    return np.sort(rng.integers(0, round(SECONDS * 1e9), rng.poisson(RATE_RPS * SECONDS)))


@pytest.mark.parametrize(
    ("name", "change", "seen"),
    [
        ("mmpp", _shuffled, {"lag1", "dispersion"}),
        ("clients", _shuffled, {"lag1", "dispersion"}),
        ("one large client", _shuffled, {"lag1"}),
        ("clients", _poisson, {"cv", "lag1", "dispersion", "distribution"}),
        ("gamma, bursty", _poisson, {"cv", "dispersion", "distribution"}),
    ],
)
def test_a_wrong_process_is_seen(
    name: str, change: Callable[[Ints, np.random.Generator], Ints], seen: set[str]
) -> None:
    runs, theories = drawn(LOADS[name])
    rng = np.random.default_rng(1)
    assert seen <= failures([change(starts, rng) for starts in runs], theories)


def test_clients_begin_in_equilibrium_without_a_burst() -> None:
    """Begun at a renewal, clients of CV 3 would send (CV^2 - 1) / 2 = 4 requests more, each."""
    load = load_of(LOADS["one large client"])
    counts = [len(load_starts(load, rate_rps=RATE_RPS, duration_s=0.5, seed=seed)) for seed in range(800)]
    assert np.mean(counts) == pytest.approx(50, abs=4 * np.std(counts) / 800**0.5)
    assert 4 * np.std(counts) / 800**0.5 < 5 * 4 / 2


def test_the_benchmark_judges_all_processes_as_workers_put_them_together() -> None:
    options = ["--seconds", "60", "--workers", "1,2", "--json"]
    done = subprocess.run(
        [sys.executable, str(BENCHMARK), *options], capture_output=True, text=True, timeout=100, check=False
    )
    found = json.loads(done.stdout)
    assert found["same_for_all_workers"]
    assert len(found["processes"]) == 8
    for name, rows in found["processes"].items():
        assert list(rows) == ["1", "2"]
        for row in rows.values():
            assert all(one["passes"] for one in row.values() if isinstance(one, dict)), (name, row)
    assert (found["passed"], done.returncode) == (True, 0)
