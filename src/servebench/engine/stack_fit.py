"""Fits the global constants to measured points: scipy's least squares on the log error of TPOT and TTFT.

    minimise  sum rho(ln(tpot/measured)) + sum rho(w ln(ttft/measured)) + sum rho(prior),   rho: soft L1

in ln(constant), within its physical bounds; a prior term is sqrt(2) delta (ln c - ln prior)/sigma.
Soft L1 because measured points carry outliers (another stack version differs by 38 % in TPOT and 93 % in TTFT
at p90). The Jacobian is one simulation of all points with each constant moved in turn.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares, minimize

from servebench.catalog.stack_constants import NAMES, PRIORS, StackConstants
from servebench.engine.closed_loop import Index, Loads, Means, simulate
from servebench.engine.roofline import Array, Roofline
from servebench.engine.step_costs import stack_efficiencies, step_costs

SOFT = 0.1  # delta: log errors far above count linearly
TTFT_WEIGHT = 0.4  # w: TTFT scatters more, and between repeats of one point too
NUDGE = 0.03  # step of the Jacobian, in ln
STEPS = 25
MAX_CONCURRENCY = 130  # of the points to fit to: larger ones take most of the time and are few


@dataclass(frozen=True, slots=True)
class Points:
    """Measured points as arrays: what ran, under which load, and what was measured."""

    peak: Roofline
    loads: Loads
    ttft_s: Array
    tpot_s: Array

    def take(self, index: Index) -> "Points":
        """The points at these places."""
        return Points(self.peak.take(index), self.loads.take(index), self.ttft_s[index], self.tpot_s[index])


def predict(points: Points, constants: StackConstants) -> Means:
    """Simulated TTFT and TPOT of every point."""
    return simulate(step_costs(points.peak, stack_efficiencies(points.peak, constants)), points.loads)


def fit(points: Points, *, start: StackConstants) -> StackConstants:
    """The constants that fit these points. start: where to begin, e.g. the priors."""
    low = np.log([PRIORS[name].low for name in NAMES])
    high = np.log([PRIORS[name].high for name in NAMES])
    first = np.clip(np.log([getattr(start, name) for name in NAMES]), low + 1e-6, high - 1e-6)

    def residuals(x: Array) -> Array:
        first_set: Array = _residuals(points, x[None, :])[0]
        return first_set

    def jacobian(x: Array) -> Array:
        return _jacobian(points, x, high)

    solved = least_squares(
        residuals,
        first,
        jac=jacobian,
        bounds=(low, high),
        loss="soft_l1",
        f_scale=SOFT,
        xtol=1e-3,
        ftol=2e-4,
        max_nfev=STEPS,
    )
    return StackConstants(**{name: float(np.exp(v)) for name, v in zip(NAMES, solved.x, strict=True)})


def _residuals(points: Points, sets: Array) -> Array:
    """(sets, residuals): every set of ln(constants) on all points in one simulation."""
    n, count = len(points.ttft_s), len(sets)
    repeated = points.take(np.tile(np.arange(n), count))
    columns = np.exp(np.repeat(sets, n, axis=0)).T
    means = predict(repeated, StackConstants(**dict(zip(NAMES, columns, strict=True))))
    tpot = np.log(means.tpot_s / repeated.tpot_s).reshape(count, n)
    ttft = TTFT_WEIGHT * np.log(means.ttft_s / repeated.ttft_s).reshape(count, n)
    centre = np.log([PRIORS[name].value for name in NAMES])
    sigma = np.array([PRIORS[name].sigma for name in NAMES])
    return np.concatenate([tpot, ttft, np.sqrt(2) * SOFT * (sets - centre) / sigma], axis=1)


def _jacobian(points: Points, x: Array, high: Array) -> Array:
    nudges = np.where(x + NUDGE > high, -NUDGE, NUDGE)
    residuals = _residuals(points, np.vstack([x, x + np.diag(nudges)]))
    slopes: Array = ((residuals[1:] - residuals[0]) / nudges[:, None]).T
    return slopes


def calibrate_ttft(simulated_s: Array, measured_s: Array) -> tuple[float, float]:
    """Two constants of one model's own measurements: TTFT = host_s + factor simulated.

    Least root of the absolute log error, so that outliers hardly count. They stand for host work and prefill
    efficiency.
    """

    def error(constants: Array) -> float:
        found_s = calibrated_s(simulated_s, constants[0], float(np.exp(constants[1])))
        return float(np.mean(np.sqrt(np.abs(np.log(found_s / measured_s)))))

    starts = [np.array([host_s, scale]) for host_s in (-0.02, 0.0, 0.02, 0.1) for scale in (-0.5, 0.0, 0.5)]
    found = (minimize(error, start, method="Nelder-Mead") for start in starts)
    best = min(found, key=lambda solved: solved.fun)
    return float(best.x[0]), float(np.exp(best.x[1]))


def calibrated_s(simulated_s: Array, host_s: float, factor: float) -> Array:
    """Never below a tenth of a millisecond, whatever the constants."""
    return np.maximum(host_s + factor * simulated_s, 1e-4)
