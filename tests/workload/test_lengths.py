"""Laws of the length distributions: order, ends, moments, and the fits that the scenarios quote."""

import csv
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from servebench.workload.draws import uniforms
from servebench.workload.lengths import Distribution
from tests.data_dir import find_data

ADAPTER: TypeAdapter[Distribution] = TypeAdapter(Distribution)
U = uniforms(5, "lengths", 0, 200_000)


def make(**fields: Any) -> Distribution:
    return ADAPTER.validate_python(fields)


ALL = [
    ADAPTER.validate_python(7),
    make(dist="uniform", min=3, max=900),
    make(dist="lognormal", mu=6.63, sigma=0.99, min=100, max=8000),
    make(dist="lognormal", median=757, p95=3850),
    make(dist="quantiles", at={"p50": 208, "p90": 2092, "p99": 23_423}, min=11, max=32_768),
    make(dist="exponential", mean=40),
    make(dist="empirical", values=[5, 1, 9, 9]),
]


@pytest.mark.parametrize("dist", ALL, ids=lambda dist: dist.dist)
def test_quantiles_rise_and_tokens_are_whole_and_positive(dist: Distribution) -> None:
    u = np.sort(U[:5000])
    assert np.all(np.diff(dist.quantile(u)) >= 0)
    tokens = dist.tokens(U)
    assert tokens.dtype == np.int64
    assert tokens.min() >= 1


@pytest.mark.parametrize("dist", ALL, ids=lambda dist: dist.dist)
def test_one_value_at_a_time_is_the_same(dist: Distribution) -> None:
    assert dist.tokens(U[:300]).tolist() == [int(dist.tokens(U[k : k + 1])[0]) for k in range(300)]


def test_lognormal_has_its_median_p95_and_log_moments() -> None:
    x = make(dist="lognormal", median=400, p95=2500).quantile(U)
    assert np.quantile(x, 0.5) == pytest.approx(400, rel=0.02)
    assert np.quantile(x, 0.95) == pytest.approx(2500, rel=0.03)
    logs = np.log(make(dist="lognormal", mu=5.02, sigma=0.86).quantile(U))
    assert logs.mean() == pytest.approx(5.02, abs=0.01)
    assert logs.std() == pytest.approx(0.86, abs=0.01)


def test_quantiles_are_hit_within_their_sampling_error() -> None:
    """Of n draws the share below a p-quantile is p, give or take sqrt(p (1 - p) / n)."""
    at = {"p5": 20.0, "p50": 792.0, "p90": 3432.0, "p99": 12_607.0, "p99.9": 21_000.0}
    x = make(dist="quantiles", at=at, max=30_000).quantile(U)
    for name, value in at.items():
        p = float(name[1:]) / 100
        assert np.mean(x < value) == pytest.approx(p, abs=4 * np.sqrt(p * (1 - p) / len(U))), name
    exact = make(dist="quantiles", at=at, max=30_000).quantile(np.array([0.05, 0.5, 0.9, 0.99, 0.999]))
    assert exact == pytest.approx(list(at.values()), rel=1e-9)


def test_between_quantiles_lies_the_lognormal_that_has_both() -> None:
    two = make(dist="quantiles", at={"p95": 2500, "p50": 400}, max=1e9)
    assert two.quantile(U) == pytest.approx(make(dist="lognormal", median=400, p95=2500).quantile(U))
    three = make(dist="quantiles", at={"p50": 400, "p95": 2500, "p99": 2600}, max=2900)
    below = U[U < 0.95]
    assert three.quantile(below) == pytest.approx(two.quantile(below))
    beyond = three.quantile(np.array([0.995, 0.9999, 1 - 1e-12]))  # the last piece goes on, to max
    assert 2600 < beyond[0] < beyond[1] < beyond[2] == 2900


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"at": {"p50": 5}, "max": 9}, "two quantiles or more"),
        ({"at": {"p50": 5, "p50.0": 6}, "max": 9}, "each once"),
        ({"at": {"p50": 5, "p90": 4}, "max": 9}, "must rise"),
        ({"at": {"p50": 5, "p100": 9}, "max": 9}, "'p100'"),
        ({"at": {50: 5, "p0": 4}, "max": 9}, "'50', 'p0'"),
        ({"at": {"p50": 5, "p90": 7}, "max": 6}, "max must be >= the last quantile, 7, got 6"),
        ({"at": {"p50": 5, "p90": 7}, "min": 10, "max": 9}, "max must be >= min 10"),
        ({"at": {"p50": 5, "p90": 7}}, "max"),
        ({"at": {"p50": 0, "p90": 7}, "max": 9}, "p50"),
        ({"at": [5, 7], "max": 9}, "at"),
    ],
)
def test_what_are_no_quantiles_is_told(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        make(dist="quantiles", **fields)


def test_an_absurd_spread_is_many_tokens_and_no_warning() -> None:
    tokens = make(dist="lognormal", median=700, sigma=500).tokens(U[:1000])
    assert tokens.min() == 1
    assert tokens.max() == 2**53
    steep = make(dist="quantiles", at={"p50": 1, "p51": 1e6}, max=1e9)
    assert steep.quantile(U[:1000]).max() == 1e9


@given(st.floats(0, 500), st.floats(500, 5000))
def test_clipping_keeps_every_value_inside(low: float, high: float) -> None:
    x = make(dist="lognormal", mu=6.6, sigma=2.0, min=low, max=high).quantile(U[:2000])
    assert x.min() >= low
    assert x.max() <= high
    if high < 4000:
        assert (x == high).any()  # clipped, not redrawn


def test_uniform_tokens_have_equal_weights_ends_included() -> None:
    values, counts = np.unique(make(dist="uniform", min=10, max=14).tokens(U), return_counts=True)
    assert values.tolist() == [10, 11, 12, 13, 14]
    assert counts == pytest.approx(len(U) / 5, rel=0.03)


def test_empirical_gives_the_listed_values_by_their_repetition() -> None:
    values, counts = np.unique(make(dist="empirical", values=[5, 1, 9, 9]).tokens(U), return_counts=True)
    assert values.tolist() == [1, 5, 9]
    assert counts / len(U) == pytest.approx([0.25, 0.25, 0.5], abs=0.01)


def test_exponential_has_its_mean() -> None:
    assert make(dist="exponential", mean=2.5).quantile(U).mean() == pytest.approx(2.5, rel=0.02)


@pytest.mark.parametrize(
    "fields",
    [
        {"dist": "lognormal", "mu": 1.0},
        {"dist": "lognormal", "mu": 1.0, "median": 3, "sigma": 1},
        {"dist": "lognormal", "median": 30, "p95": 3},
        {"dist": "lognormal", "median": 30, "p95": 90, "min": 5, "max": 4},
        {"dist": "uniform", "min": 5, "max": 4},
        {"dist": "empirical", "values": []},
        {"dist": "constant", "value": float("nan")},
    ],
)
def test_what_makes_no_distribution_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        make(**fields)


@pytest.mark.parametrize(
    ("name", "fits"), [("code", ((7.00, 1.36), (2.79, 0.85))), ("conv", ((6.63, 0.99), (5.02, 0.86)))]
)
def test_the_fits_that_scenarios_quote_are_those_of_the_traces(
    name: str, fits: tuple[tuple[float, float], tuple[float, float]]
) -> None:
    with find_data("azure2023", f"AzureLLMInferenceTrace_{name}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for column, (mu, sigma) in zip(("ContextTokens", "GeneratedTokens"), fits, strict=True):
        logs = np.log([int(row[column]) for row in rows])
        assert logs.mean() == pytest.approx(mu, abs=0.006)
        assert logs.std() == pytest.approx(sigma, abs=0.006)
