"""Bursts: a Poisson process whose rate jumps between calm and burst, MMPP(2) (Fischer and Meier-Hellstern,
The MMPP Cookbook, Performance Evaluation 18, 1993).

Unlike a renewal process of the same CV its gaps are correlated: a short gap tells of a burst that goes on.
"""

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from servebench.errors import UsageError
from servebench.workload.draws import generator
from servebench.workload.rate_curve import RateCurve

_CHUNK = 256
_MOST_BURSTS = 5_000_000  # of a run


class Bursts(BaseModel):
    """Stays in burst and in calm are exponential with means burst_s and calm_s; ratio = burst / calm rate."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    ratio: float = Field(gt=1)
    burst_s: float = Field(gt=0)
    calm_s: float = Field(gt=0)

    @property
    def calm_factor(self) -> float:
        """Rate in calm over the mean rate; in burst it is ratio times as much."""
        return (self.calm_s + self.burst_s) / (self.calm_s + self.ratio * self.burst_s)

    def curve(self, duration_s: float, *, seed: int) -> RateCurve:
        """The path of the state, begun in equilibrium, as factors of the mean rate."""
        if duration_s / (self.burst_s + self.calm_s) > _MOST_BURSTS:
            raise UsageError(
                f"load.bursts: {self.burst_s:g} s and {self.calm_s:g} s are too short for {duration_s:g} s"
            )
        rng = generator(seed, "bursts")
        bursting = bool(rng.uniform() < self.burst_s / (self.burst_s + self.calm_s))
        stays, total_s = [], 0.0
        means = (self.burst_s, self.calm_s) if bursting else (self.calm_s, self.burst_s)
        while total_s <= duration_s:
            stays.append(rng.standard_exponential(_CHUNK) * np.tile(means, _CHUNK // 2))
            total_s += float(stays[-1].sum())
        ends = np.cumsum(np.concatenate(stays))
        times = np.concatenate(([0.0], np.repeat(ends, 2)[:-1]))
        high, low = self.calm_factor * self.ratio, self.calm_factor
        pair = (high, high, low, low) if bursting else (low, low, high, high)
        return RateCurve(times, np.tile(pair, len(ends) // 2))
