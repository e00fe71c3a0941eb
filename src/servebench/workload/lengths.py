"""Distributions of token counts and times, as a scenario file states them, each a quantile function.

A draw is quantile(u) of a uniform number that belongs to one id (draws.py), so distributions hold no state.
Lognormal: ln X is normal with mean mu and deviation sigma; given as mu and sigma, median and sigma, or
median and p95 (sigma = ln(p95/median) / z_95). Quantiles: ln X is straight in the normal score between given
quantiles. Values are clipped to [min, max], not redrawn: mass gathers at the ends.
"""

import math
import re
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from servebench.normal import inverse_normal

_Z95 = 1.6448536269514722  # the standard normal's 95th percentile
_LEVEL = re.compile(r"p(\d{1,2}(?:\.\d+)?)")  # p50, p99.9
_MOST_TOKENS = 2.0**53  # beyond it a float is no whole number of its own

Floats = NDArray[np.float64]


class _Distribution(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def quantile(self, u: Floats) -> Floats:
        """The value below which a share u of draws falls; same shape as u, every u in (0, 1)."""
        raise NotImplementedError

    def tokens(self, u: Floats) -> NDArray[np.int64]:
        """quantile(u) as whole tokens, at least 1."""
        return np.clip(np.rint(self.quantile(u)), 1, _MOST_TOKENS).astype(np.int64)


class Constant(_Distribution):
    """Always the same value."""

    dist: Literal["constant"]
    value: float = Field(ge=0)

    def quantile(self, u: Floats) -> Floats:
        return np.full_like(u, self.value)


class Uniform(_Distribution):
    """Even between min and max, both included."""

    dist: Literal["uniform"]
    min: float = Field(ge=0)
    max: float = Field(ge=0)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        _check_ends(self.min, self.max)
        return self

    def quantile(self, u: Floats) -> Floats:
        return self.min + u * (self.max - self.min)

    def tokens(self, u: Floats) -> NDArray[np.int64]:
        low, high = math.ceil(self.min), math.floor(self.max)
        # integers of equal weight, where rounding would give the ends half of theirs
        return np.maximum(np.floor(low + u * (max(high, low) - low + 1)), 1).astype(np.int64)


class Lognormal(_Distribution):
    """ln X normal: mu and sigma, median and sigma, or median and p95; clipped to min and max where given."""

    dist: Literal["lognormal"]
    mu: float | None = None
    sigma: float | None = Field(default=None, ge=0)
    median: float | None = Field(default=None, gt=0)
    p95: float | None = Field(default=None, gt=0)
    min: float = Field(default=0, ge=0)
    max: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        given = {name for name in ("mu", "sigma", "median", "p95") if getattr(self, name) is not None}
        if given not in ({"mu", "sigma"}, {"median", "sigma"}, {"median", "p95"}):
            raise ValueError("give mu and sigma, median and sigma, or median and p95")
        if self.median is not None and self.p95 is not None and self.p95 < self.median:
            raise ValueError(f"p95 must be >= median {self.median:g}, got {self.p95:g}")
        if self.max is not None:
            _check_ends(self.min, self.max)
        return self

    @property
    def log_mean(self) -> float:
        return self.mu if self.mu is not None else math.log(self.median or 1.0)

    @property
    def log_deviation(self) -> float:
        if self.sigma is not None:
            return self.sigma
        return math.log((self.p95 or 1.0) / (self.median or 1.0)) / _Z95

    def quantile(self, u: Floats) -> Floats:
        with np.errstate(over="ignore"):  # an absurd sigma: inf, which max or the most tokens cut
            x = np.exp(self.log_mean + self.log_deviation * inverse_normal(u))
        return np.clip(x, self.min, np.inf if self.max is None else self.max)


def _named(at: Any) -> Any:
    """Names as texts, so that a number among them is told as a wrong name."""
    return {str(name): value for name, value in at.items()} if isinstance(at, dict) else at


class Quantiles(_Distribution):
    """Through given quantiles, as papers publish them: `at: {p50: 792, p90: 3432, p99: 12607}`.

    Between two of them X is a piece of the lognormal that has both: ln X = a + b * z(u). Below the first and
    above the last the outermost piece goes on, to min and to max, which has to be given: quantiles say
    nothing of what lies beyond the last. Two quantiles and no clipping make a lognormal.
    """

    dist: Literal["quantiles"]
    at: Annotated[dict[str, Annotated[float, Field(gt=0)]], BeforeValidator(_named)]
    min: float = Field(default=0, ge=0)
    max: float = Field(gt=0)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        wrong = [name for name in self.at if not (_LEVEL.fullmatch(name) and float(name[1:]) > 0)]
        if wrong:
            names = ", ".join(map(repr, wrong))
            raise ValueError(f"at names quantiles as p50 or p99.9, between p0 and p100; not {names}")
        points = self._points()
        if len({level for level, _ in points}) < max(2, len(points)):
            raise ValueError(
                f"at must have two quantiles or more, each once, got {', '.join(self.at) or 'none'}"
            )
        values = [value for _, value in points]
        if values != sorted(values):
            raise ValueError(f"at must rise with its quantiles, got {', '.join(f'{v:g}' for v in values)}")
        if self.max < values[-1]:
            raise ValueError(f"max must be >= the last quantile, {values[-1]:g}, got {self.max:g}")
        _check_ends(self.min, self.max)
        return self

    def _points(self) -> list[tuple[float, float]]:
        """(level in (0, 1), value), by level."""
        return sorted((float(name[1:]) / 100, value) for name, value in self.at.items())

    def quantile(self, u: Floats) -> Floats:
        levels, values = np.array(self._points()).T
        scores, logs = inverse_normal(levels), np.log(values)
        slopes = np.diff(logs) / np.diff(scores)
        z = inverse_normal(u)
        piece = np.clip(np.searchsorted(scores, z) - 1, 0, len(slopes) - 1)
        x = logs[piece] + slopes[piece] * (z - scores[piece])
        # cut before exp, which would overflow where two quantiles lie close and their values don't
        values_at_u: Floats = np.clip(np.exp(np.minimum(x, math.log(self.max) + 1)), self.min, self.max)
        return values_at_u


class Exponential(_Distribution):
    """Mean given; clipped to max where given. For think times."""

    dist: Literal["exponential"]
    mean: float = Field(gt=0)
    max: float | None = Field(default=None, gt=0)

    def quantile(self, u: Floats) -> Floats:
        return np.minimum(-self.mean * np.log1p(-u), np.inf if self.max is None else self.max)


class Empirical(_Distribution):
    """One of the listed values, each as likely as the next (repeat a value to weigh it)."""

    dist: Literal["empirical"]
    values: tuple[Annotated[float, Field(ge=0)], ...] = Field(min_length=1)

    def quantile(self, u: Floats) -> Floats:
        values = np.sort(np.asarray(self.values, dtype=np.float64))
        return values[np.floor(u * len(values)).astype(np.int64)]


def _check_ends(low: float, high: float) -> None:
    if high < low:
        raise ValueError(f"max must be >= min {low:g}, got {high:g}")


def _plain_number(value: Any) -> Any:
    """`input_tokens: 512` is short for a constant."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return {"dist": "constant", "value": value}
    return value


DISTRIBUTIONS: dict[str, type[BaseModel]] = {"constant": Constant, "uniform": Uniform, "lognormal": Lognormal,
                 "quantiles": Quantiles, "exponential": Exponential, "empirical": Empirical}  # fmt: skip

Distribution = Annotated[
    Annotated[
        Constant | Uniform | Lognormal | Quantiles | Exponential | Empirical, Field(discriminator="dist")
    ],
    BeforeValidator(_plain_number),
]
