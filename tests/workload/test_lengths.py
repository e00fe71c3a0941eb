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
