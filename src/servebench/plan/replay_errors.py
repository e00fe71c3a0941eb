"""A replay against the run that it repeats: errors to print, and residuals to fit by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from servebench.plan.measured_load import Floats, MeasuredLoad

QUANTILES = (0.5, 0.9, 0.95)
QUANTILE_WEIGHT = 0.5
GROUPS = 6  # of requests, by size or load
FAR = 1.0  # a row off by more than e counts no more than that


@dataclass(frozen=True, slots=True)
class Errors:
    """The replay against the run. median_abs: of requests, relative. quantiles: replay over run - 1.

    noise: by how much the same quantiles of two runs of one server differ, with 95 % confidence; empty where
    there is a single replay.
    """

    median_abs: float
    quantiles: Mapping[float, float]
    n: int
    noise: Mapping[float, float] = field(default_factory=dict)


def errors(simulated: Floats, measured: Floats) -> Errors:
    """Over the requests that have both. simulated: a row each replay."""
    rows = np.isfinite(measured) & np.isfinite(simulated).all(axis=0) & (measured > 0)
    ours, theirs = simulated[:, rows], measured[rows]
    quantiles = {q: float(_quantile(ours, q) / _quantile(theirs, q) - 1) for q in QUANTILES}
    noise = {}
    if len(ours) > 1:
        apart = t.ppf(0.975, len(ours) - 1) * 2**0.5  # of two draws with the spread of these few
        for q in QUANTILES:
            found = np.array([_quantile(row, q) for row in ours])
            noise[q] = float(apart * found.std(ddof=1) / found.mean())
    return Errors(float(np.median(np.abs(ours / theirs - 1))), quantiles, len(theirs), noise)


def by_load(load: MeasuredLoad, simulated: Floats) -> tuple[tuple[float, float, float], ...]:
    together = load.in_flight()
    return tuple(
        (
            float(np.median(together[rows])),
            float(np.median(load.tpot_s[rows])),
            float(np.median(simulated[:, rows])),
        )
        for rows in groups(together, load.tpot_s)
    )


def _quantile(values: Floats, q: float) -> float:
    return float(np.quantile(values, q, method="inverted_cdf"))


def groups(by: NDArray[Any], measured: Floats) -> list[NDArray[np.intp]]:
    """The measured rows in GROUPS of about equal size, by rising `by`; fewer where many are equal."""
    rows = np.flatnonzero(np.isfinite(measured) & (measured > 0))
    ordered = rows[np.argsort(by[rows], kind="stable")]
    return [part for part in np.array_split(ordered, GROUPS) if len(part)]


def in_groups(simulated: Floats, measured: Floats, parts: Sequence[NDArray[np.intp]]) -> Floats:
    """Mean logarithm of the ratio in each group: the phase of a step at which a request happens to come moves
    its own TTFT by a tenth, and averages out."""
    means = []
    for rows in parts:
        ours, theirs = simulated[rows], measured[rows]
        with np.errstate(divide="ignore"):
            ratios = np.where(np.isfinite(ours) & (ours > 0), np.log(ours / theirs), FAR)
        means.append(float(np.clip(ratios, -FAR, FAR).mean()))
    return np.array(means)


def of_quantiles(simulated: Floats, measured: Floats) -> Floats:
    rows = np.isfinite(measured) & (measured > 0)
    ours, theirs = simulated[rows], measured[rows]
    ours = np.where(np.isfinite(ours) & (ours > 0), ours, theirs * np.exp(FAR))
    return QUANTILE_WEIGHT * np.array([np.log(_quantile(ours, q) / _quantile(theirs, q)) for q in QUANTILES])
