"""What the gaps and the counts of each arrival process must be, computed, not drawn.

Superposition of independent equilibrium renewal processes (one alone: the Gamma or Poisson process itself).
Of process i: rate l_i, gap survival S_i, Se_i(t) = l_i * integral of S_i over (t, inf). L: sum of the rates.

    P(G > t)   = sum_i (l_i / L) S_i(t) prod_{j != i} Se_j(t)       (Cox and Smith, Biometrika 41, 1954)
    P0(t)      = prod_i Se_i(t)                                     no arrival in (0, t]
    P1(t)      = sum_i p_i(t) prod_{j != i} Se_j(t)                 one; p_i(t) = l_i int_t^inf (S_i2 - 2 S_i)
    E[G^2]     = 2 / L * integral of P0
    E[G1 G2]   = 1 / L * integral of P1                             both from the Palm-Khinchine relations
    Var N(w)   = sum_i (l_i w + 2 l_i * integral of H_i over (0, w) - (l_i w)^2)

(McFadden, On the lengths of intervals in a stationary point process, J. R. Stat. Soc. B 24, 1962; Cox,
Renewal Theory, 1962, sections 4.5 and 6.) S_i2: survival of two gaps; H_i: renewal function. Albin
(Management Science 28, 1982) shows why the correlation matters: gaps look Poisson long before counts do.
For Gamma gaps all but the two outer integrals are incomplete gamma functions.

MMPP(2): Fischer and Meier-Hellstern, The MMPP Cookbook, Performance Evaluation 18, 1993.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainc, gammaincc

from servebench.workload.load import Load

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Moments:
    """CV of the gaps, and the correlation of one with the next."""

    cv: float
    lag1: float


@dataclass(frozen=True)
class Superposition:
    """Equilibrium renewal processes with Gamma gaps, independent: rate (1/s) and shape (1 / CV^2) of each."""

    rates_rps: Floats
    shapes: Floats

    @property
    def rate_rps(self) -> float:
        return float(self.rates_rps.sum())

    @property
    def independent_gaps(self) -> bool:
        return len(self.rates_rps) == 1

    def gap_cdf(self, gaps_s: Floats) -> Floats:
        """P(gap <= t) of each t, from an arrival to the next one of any process."""
        x = self._scaled(gaps_s)
        ordinary = gammaincc(self._k, x)
        survival = (self.rates_rps[:, None] * ordinary * _products_of_others(self._none(x))).sum(axis=0)
        cdf: Floats = 1 - survival / self.rate_rps
        return cdf

    @cached_property
    def moments(self) -> Moments:
        """By the trapezoid rule on a logarithmic scale of t, which converges exponentially here."""
        step = min(0.2, 0.5 * float(self.shapes.max()) ** -0.5)  # as fine as the sharpest edge of an Se
        # by then any one process has surely had two gaps
        end_s = np.min((2 * self.shapes + 60 + 22 * self.shapes**0.5) / (self.shapes * self.rates_rps))
        t = np.exp(np.arange(np.log(1e-12 / self.rate_rps), np.log(end_s) + step, step))
        x = self._scaled(t)
        none, k = self._none(x), self._k
        # one arrival: E(X2 - t)+ - 2 E(X1 - t)+, in units of the mean gap
        two = 2 * gammaincc(2 * k + 1, x) - x / k * gammaincc(2 * k, x)
        one = np.maximum(two - 2 * none, 0.0)
        weight = t * step
        square = 2 * self.rate_rps * float((none.prod(axis=0) * weight).sum())  # E[G^2] L^2
        joint = self.rate_rps * float(((one * _products_of_others(none)).sum(axis=0) * weight).sum())
        return Moments((square - 1) ** 0.5, (joint - 1) / (square - 1))

    def dispersion(self, window_s: float) -> float:
        """Variance over mean of the counts in windows."""
        variance = sum(
            _gamma_variance(rate * window_s, shape)
            for rate, shape in zip(self.rates_rps.tolist(), self.shapes.tolist(), strict=True)
        )
        return variance / (self.rate_rps * window_s)

    @property
    def _k(self) -> Floats:
        return self.shapes[:, None]

    def _scaled(self, t: Floats) -> Floats:
        """Times in units of each process's Gamma scale, shape (processes, times)."""
        return (self.rates_rps * self.shapes)[:, None] * t

    def _none(self, x: Floats) -> Floats:
        """Se: E(X - t)+ over E X."""
        return np.maximum(gammaincc(self._k + 1, x) - x / self._k * gammaincc(self._k, x), 0.0)


def _products_of_others(values: Floats) -> Floats:
    """Of each row, the product of all other rows; without a division, since rows reach 0."""
    ones = np.ones((1, values.shape[1]))
    before = np.cumprod(np.concatenate((ones, values[:-1])), axis=0)
    after = np.cumprod(np.concatenate((ones, values[:0:-1])), axis=0)[::-1]
    return np.asarray(before * after, dtype=np.float64)


def _gamma_variance(mean: float, k: float) -> float:
    """Variance of the count of an equilibrium Gamma process where `mean` arrivals are expected.

    The renewal function is the sum of the distribution functions of n gaps, Gamma of shape n k.
    """
    x = k * mean
    n = np.arange(1.0, int((x + 12 * x**0.5 + 40) / k) + 2)
    expected_beyond = mean * gammainc(n * k, x) - n * gammainc(n * k + 1, x)
    return float(mean + 2 * expected_beyond.sum() - mean**2)


@dataclass(frozen=True, slots=True)
class Mmpp:
    """Rates in burst and calm, and the rates of leaving each; all 1/s."""

    burst_rps: float
    calm_rps: float
    leave_burst: float
    leave_calm: float

    independent_gaps = False

    @property
    def _share(self) -> float:
        """Of time, in burst."""
        return self.leave_calm / (self.leave_burst + self.leave_calm)

    @property
    def rate_rps(self) -> float:
        return self._share * self.burst_rps + (1 - self._share) * self.calm_rps

    @property
    def moments(self) -> Moments:
        high, low, out, back = self.burst_rps, self.calm_rps, self.leave_burst, self.leave_calm
        rest = high * low + high * back + low * out
        square = 1 + 2 * out * back * (high - low) ** 2 / ((out + back) ** 2 * rest)
        return Moments(square**0.5, 0.5 * (1 - 1 / square) * high * low / rest)

    def gap_cdf(self, gaps_s: Floats) -> Floats:
        """P(gap <= t) of each t: phase-type, with the states as arrivals see them."""
        states = np.array([
            [-self.leave_burst - self.burst_rps, self.leave_burst],
            [self.leave_calm, -self.leave_calm - self.calm_rps],
        ])  # fmt: skip
        seen = np.array([self._share * self.burst_rps, (1 - self._share) * self.calm_rps]) / self.rate_rps
        values, vectors = np.linalg.eig(states)
        weights = (seen @ vectors) * np.linalg.solve(vectors, np.ones(2))
        return np.asarray(1 - np.exp(np.outer(gaps_s, values.real)) @ weights.real)

    def dispersion(self, window_s: float) -> float:
        """Variance over mean of the counts in windows: 1 + 2 p q d^2 / (rate s) (1 - (1 - e^-sw) / (sw)).

        p, q: shares of time in burst and calm; d: difference of their rates; s: sum of the rates of leaving.
        """
        share, s = self._share, self.leave_burst + self.leave_calm
        limit = 2 * share * (1 - share) * (self.burst_rps - self.calm_rps) ** 2 / (self.rate_rps * s)
        return float(1 + limit * (1 + np.expm1(-s * window_s) / (s * window_s)))


Theory = Superposition | Mmpp


def theory_of(load: Load, *, rate_rps: float, seed: int) -> Theory:
    """Of a process with random gaps at a constant rate. seed: of the CVs of a mixture's clients."""
    if load.process == "mmpp" and load.bursts is not None:
        calm_rps = rate_rps * load.bursts.calm_factor
        return Mmpp(calm_rps * load.bursts.ratio, calm_rps, 1 / load.bursts.burst_s, 1 / load.bursts.calm_s)
    if load.process == "clients" and load.clients is not None:
        return Superposition(rate_rps * load.clients.shares(), load.clients.gap_cvs(seed) ** -2.0)
    cv = 1.0 if load.process in (None, "poisson") else float(load.cv or 1.0)
    return Superposition(np.array([rate_rps]), np.array([cv**-2.0]))
