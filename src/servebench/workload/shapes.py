"""Shapes of a rate over a run, as a scenario file states them: stages (ramps and steps), a spike, a day.

All are factors of the load's rate_rps, so that one --rate scales the whole.
"""

import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from servebench.errors import UsageError
from servebench.workload.rate_curve import RateCurve

_PIECES_A_DAY = 1440  # of a cosine as straight pieces: off by (2 pi / 1440)^2 / 8 = 2.4e-6 of the amplitude


_MOST_PIECES = 10_000_000


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def curve(self, duration_s: float) -> RateCurve:
        """The factor over [0, duration_s]; a longer curve begins with the shorter one."""
        raise NotImplementedError


class Stage(BaseModel):
    """duration_s from factor `start` (default: where the stage before ended, 0 at first) to factor `end`.

    A step is a stage whose start is its end.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    duration_s: float = Field(gt=0)
    start: float | None = Field(default=None, ge=0)
    end: float = Field(ge=0)


class Stages(_Shape):
    """Stage after stage; the last end holds on."""

    kind: Literal["stages"]
    stages: tuple[Stage, ...] = Field(min_length=1)

    def curve(self, duration_s: float) -> RateCurve:
        points, time_s, factor = [], 0.0, 0.0
        for stage in self.stages:
            points.append((time_s, factor if stage.start is None else stage.start))
            time_s, factor = time_s + stage.duration_s, stage.end
            points.append((time_s, factor))
        return RateCurve.through(points)


class Spike(_Shape):
    """Factor 1, but `factor` for hold_s seconds from at_s on, with ramps of ramp_s before and after it."""

    kind: Literal["spike"]
    at_s: float = Field(ge=0)
    hold_s: float = Field(gt=0)
    factor: float = Field(ge=0)
    ramp_s: float = Field(default=0, ge=0)

    def curve(self, duration_s: float) -> RateCurve:
        top_s = self.at_s + self.ramp_s
        down_s = top_s + self.hold_s
        return RateCurve.through(
            [
                (0.0, 1.0),
                (self.at_s, 1.0),
                (top_s, self.factor),
                (down_s, self.factor),
                (down_s + self.ramp_s, 1.0),
            ]
        )


class Diurnal(_Shape):
    """1 + amplitude * cos(2 pi (t - peak_s) / period_s): rate_rps is the mean of a whole period."""

    kind: Literal["diurnal"]
    amplitude: float = Field(ge=0, le=1)
    period_s: float = Field(default=86_400, gt=0)
    peak_s: float = 0.0

    def curve(self, duration_s: float) -> RateCurve:
        step_s = self.period_s / _PIECES_A_DAY
        if duration_s / step_s > _MOST_PIECES:
            raise UsageError(
                f"load.shape: a period of {self.period_s:g} s is too short for a run of {duration_s:g} s"
            )
        times = [k * step_s for k in range(math.ceil(duration_s / step_s) + 2)]
        turn = 2 * math.pi / self.period_s
        return RateCurve.through(
            [(t, 1 + self.amplitude * math.cos(turn * (t - self.peak_s))) for t in times]
        )


SHAPES: dict[str, type[_Shape]] = {"stages": Stages, "spike": Spike, "diurnal": Diurnal}

Shape = Annotated[Stages | Spike | Diurnal, Field(discriminator="kind")]
