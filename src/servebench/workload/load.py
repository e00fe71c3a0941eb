"""Load: how requests start. Open loop: at a rate, whatever the server does. Closed: users, each in turn."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from servebench.workload.bursts import Bursts
from servebench.workload.client_mix import ClientMix
from servebench.workload.lengths import Distribution
from servebench.workload.scenario_problems import InconsistentError, Problem
from servebench.workload.shapes import Shape

Process = Literal["constant", "poisson", "gamma", "mmpp", "clients"]

# what a process takes besides a rate: process -> (field, what it is)
_PROCESS_FIELDS = {
    "gamma": ("cv", "the coefficient of variation of its gaps"),
    "mmpp": ("bursts", "a mapping with ratio, burst_s and calm_s"),
    "clients": ("clients", "a mapping with count, top, top_share and cv"),
}


class Load(BaseModel):
    """Open: rate_rps, process with its cv, bursts or clients, shape. Closed: users, think_time_s.

    task_grace_s: how long after duration_s sessions may go on that began before it (open loop).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    rate_rps: float | None = Field(default=None, gt=0)
    process: Process | None = None
    cv: float | None = Field(default=None, gt=0, le=100)
    bursts: Bursts | None = None
    clients: ClientMix | None = None
    shape: Shape | None = None
    users: int | None = Field(default=None, gt=0)
    think_time_s: Distribution | None = None
    duration_s: float = Field(gt=0)
    task_grace_s: float = Field(default=0, ge=0)

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
    open_keys = ("rate_rps", "process", "cv", "bursts", "clients", "shape")
    opened = [name for name in open_keys if load.get(name) is not None]
    closed = [name for name in ("users", "think_time_s") if load.get(name) is not None]
    problems = []
    if opened and closed:
        problems.append(
            ("", f"is open ({', '.join(opened)}) and closed ({', '.join(closed)}) at once: choose one")
        )
    if load.get("rate_rps") is None and load.get("users") is None:
        problems.append(("", "give rate_rps (open loop) or users (closed loop)"))
    for process, (field, what) in _PROCESS_FIELDS.items():
        given, wanted = load.get(field) is not None, load.get("process") == process
        if wanted and not given:
            problems.append((field, f"process {process} wants one, {what}"))
        if given and not wanted:
            problems.append((field, f"belongs to process {process}"))
    return problems
