"""WorkloadPlan: all that is needed to build the identical workload on any worker.

plan = WorkloadPlan(scenario=load_scenario("chat"), seed=1, bytes_per_token=4.0, ...)
workload = plan.build()
workload.intended_ns[k::W]                # worker k of W takes these, and never draws again
workload.spec(id), workload.body(id)      # the same everywhere
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from servebench.errors import UsageError
from servebench.workload.measure import Measure, Tokenizer, measure
from servebench.workload.prompt_set import PromptSet
from servebench.workload.scenario import Scenario
from servebench.workload.trace_arrays import TraceArrays
from servebench.workload.workload import Workload

__all__ = ["TraceArrays", "Workload", "WorkloadPlan"]

WARMUP_SHARE = 0.1
WARMUP_FROM_S = 60.0  # shorter runs and traces have no warm-up unless it is asked for


class WorkloadPlan(BaseModel):
    """A scenario, a seed and what the target needs: JSON-able, so that it travels to every worker.

    model None: the scenario's. rate_rps makes it an open loop and users a closed one, whatever the scenario
    says; duration_s, warmup_s and task_grace_s override the scenario's. preamble_tokens, bytes_per_token and
    context_length_tokens are the target tier's, by which prompts are sized; tokenizer o200k sizes them by a
    real BPE instead of bytes_per_token. api: the dialect of the bodies.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    scenario: Scenario
    seed: int = 0
    model: str | None = None
    bytes_per_token: float = Field(ge=1)
    preamble_tokens: int = Field(ge=0)
    context_length_tokens: int = Field(gt=0)
    rate_rps: float | None = Field(default=None, gt=0)
    users: int | None = Field(default=None, gt=0)
    duration_s: float | None = Field(default=None, gt=0)
    warmup_s: float | None = Field(default=None, ge=0)
    task_grace_s: float | None = Field(default=None, ge=0)
    trace: TraceArrays | None = None
    prompts: PromptSet | None = None
    tokenizer: Tokenizer = "bytes"
    api: Literal["chat", "responses"] = "chat"

    @property
    def measure(self) -> Measure:
        """By what prompts are sized. UsageError where the tokenizer's package is missing."""
        return measure(self.tokenizer, bytes_per_token=self.bytes_per_token)

    def build(self) -> Workload:
        """The workload. UsageError where the overrides contradict each other or leave nothing to do."""
        if self.rate_rps is not None and self.users is not None:
            raise UsageError("rate_rps (open loop) and users (closed loop) exclude each other: choose one")
        if self.trace is not None and (self.rate_rps is not None or self.users is not None):
            raise UsageError(
                "a trace has its own arrivals: scale the trace, instead of giving a rate or users"
            )
        if self.prompts is not None:
            if self.trace is not None:
                raise UsageError(
                    "a trace has its own lengths, and prompts of one's own have theirs: choose one"
                )
            if any(cls.session is not None for cls in self.scenario.classes):
                raise UsageError(
                    f"prompts of one's own are single requests: {self.scenario.name} has sessions"
                )
        if self.warmup >= self.duration:
            raise UsageError(
                f"the warm-up of {self.warmup:g} s leaves nothing of a run of {self.duration:g} s"
            )
        return Workload(self)

    @property
    def mode(self) -> Literal["open", "closed"]:
        if self.trace is not None or self.rate_rps is not None:
            return "open"
        return "closed" if self.users is not None else self.scenario.load.mode

    @property
    def duration(self) -> float:
        """Seconds during which requests start."""
        if self.duration_s is not None:
            return self.duration_s
        return self.scenario.load.duration_s if self.trace is None else self.trace.duration_s

    @property
    def warmup(self) -> float:
        """Seconds kept out of percentiles: as asked, else none for a trace or a short run, else a tenth.

        The scenario's own warm-up gives way where the run is cut shorter than it.
        """
        if self.warmup_s is not None:
            return self.warmup_s
        if self.scenario.warmup_s is not None and self.scenario.warmup_s < self.duration:
            return self.scenario.warmup_s
        return (
            0.0 if self.trace is not None or self.duration < WARMUP_FROM_S else WARMUP_SHARE * self.duration
        )
