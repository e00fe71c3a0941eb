"""Load: how requests start. Open loop: at a rate, whatever the server does. Closed: users, each in turn."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from servebench.workload.arrivals import Process
from servebench.workload.lengths import Distribution
from servebench.workload.scenario_problems import InconsistentError, Problem


class Load(BaseModel):
    """Open: rate_rps, process, cv (gamma only), duration_s. Closed: users, think_time_s, duration_s."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    rate_rps: float | None = Field(default=None, gt=0)
    process: Process | None = None
    cv: float | None = Field(default=None, gt=0, le=100)
    users: int | None = Field(default=None, gt=0)
    think_time_s: Distribution | None = None
    duration_s: float = Field(gt=0)

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if problems := load_problems(vars(self)):
            raise InconsistentError(problems)
        return self

    @property
    def mode(self) -> Literal["open", "closed"]:
        return "open" if self.users is None else "closed"


def load_problems(load: Mapping[str, Any]) -> list[Problem]:
    """What does not fit together in a load, checked or still as the file has it."""
    opened = [name for name in ("rate_rps", "process", "cv") if load.get(name) is not None]
    closed = [name for name in ("users", "think_time_s") if load.get(name) is not None]
    problems = []
    if opened and closed:
        problems.append(
            ("", f"is open ({', '.join(opened)}) and closed ({', '.join(closed)}) at once: choose one")
        )
    if load.get("rate_rps") is None and load.get("users") is None:
        problems.append(("", "give rate_rps (open loop) or users (closed loop)"))
    if load.get("process") == "gamma" and load.get("cv") is None:
        problems.append(("cv", "process gamma wants one, the coefficient of variation of its gaps"))
    if load.get("cv") is not None and load.get("process") != "gamma":
        problems.append(("cv", "belongs to process gamma"))
    return problems
