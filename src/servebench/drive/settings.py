"""RunSettings: everything one run needs, as one JSON-able value. The master ships it to each worker as it is.

No secret is in it: keys are read from the environment by the process that sends.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from servebench.results.facts import Objectives
from servebench.workload.plan import WorkloadPlan


class RunSettings(BaseModel):
    """One run: the workload, the target, where the results go, and the limits."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    plan: WorkloadPlan
    target_url: str
    target_kind: Literal["mock", "xai", "other"]
    price_date: str | None = None  # of the price sheet that computes the bill
    run_dir: str
    run_id: str
    slo: tuple[str, ...] = ()
    goodput: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    junit: str | None = None
    markdown: str | None = None
    print_json: bool = False
    quiet: bool = False
    metrics_port: int | None = Field(default=0, ge=0, le=65535)  # 0: any free port; None: no endpoint
    cooldown_s: float = Field(default=0.0, ge=0)  # at the end of the arrivals, kept out of percentiles
    max_in_flight: int = Field(default=10_000, gt=0)
    grace_s: float = Field(default=30.0, ge=0)  # wait for what is in flight once arrivals have ended
    connect_timeout_s: float = Field(default=10.0, gt=0)
    first_byte_timeout_s: float = Field(default=600.0, gt=0)
    idle_timeout_s: float = Field(default=60.0, gt=0)
    # plain `locust` keeps Locust's own exit codes; `servebench run` uses DESIGN's
    own_exit_codes: bool = True

    def objectives(self) -> Objectives:
        """What the run is held to. Raises UsageError with every bad text."""
        scenario = self.plan.scenario.model_dump(mode="json")
        return Objectives.of({"scenario": scenario, "slo": self.slo, "goodput": self.goodput})
