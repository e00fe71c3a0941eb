"""WorkloadPlan: all that is needed to build the identical workload on any worker. Workload: what comes of it.

plan = WorkloadPlan(scenario=load_scenario("chat"), seed=1, bytes_per_token=4.0, ...)
workload = plan.build()
workload.intended_ns[k::W]                # worker k of W takes these, and never draws again
workload.spec(id), workload.body(id)      # the same everywhere
"""

from collections import OrderedDict
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from servebench.errors import UsageError
from servebench.workload.body_parts import BodyParts
from servebench.workload.columns import SpecColumns, SpecDraw
from servebench.workload.draws import uniforms
from servebench.workload.encode import BodyEncoder
from servebench.workload.fingerprint import fingerprint
from servebench.workload.measure import Measure, Tokenizer, measure
from servebench.workload.prompt_set import PromptSet
from servebench.workload.scenario import Scenario
from servebench.workload.schedule import load_starts
from servebench.workload.session_calls import SessionCalls
from servebench.workload.sessions import NextTurn, TurnOutcome, split_id
from servebench.workload.spec import RequestSpec
from servebench.workload.trace_arrays import TraceArrays
from servebench.workload.trace_blocks import TraceBlocks

__all__ = ["TraceArrays", "Workload", "WorkloadPlan"]

WARMUP_SHARE = 0.1
WARMUP_FROM_S = 60.0  # shorter runs and traces have no warm-up unless it is asked for
_BLOCK = 512  # ids that a closed loop draws at once
_BLOCKS_KEPT = 8
_HASHED_IDS = 4096  # of a closed loop, whose ids have no end


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

    def build(self) -> "Workload":
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


class Workload:
    """What to ask and when. All of it follows from the plan; nothing here reads a clock or keeps a
    position.
    """

    def __init__(self, plan: WorkloadPlan) -> None:
        scenario = plan.scenario
        self.plan = plan
        self.measure = plan.measure
        self.mode = plan.mode
        self.duration_s = plan.duration
        self.warmup_s = plan.warmup
        load = scenario.load
        self.task_grace_s = load.task_grace_s if plan.task_grace_s is None else plan.task_grace_s
        self.model = plan.model or scenario.model
        self.classes = scenario.classes
        self.intended_ns, lengths, self.trace_blocks = _arrivals(plan)
        self.users = (plan.users or scenario.load.users) if self.mode == "closed" else None
        self._draw = SpecDraw(
            scenario.classes,
            seed=plan.seed,
            preamble_tokens=plan.preamble_tokens,
            measure=self.measure,
            context_length_tokens=plan.context_length_tokens,
            lengths=lengths,
            own_prefixes=self.trace_blocks is None,
            prompts=plan.prompts,
        )
        # a trace's rows are requests of their own
        self._sessions = SessionCalls(
            () if plan.trace is not None else scenario.classes,
            seed=plan.seed,
            context_length_tokens=plan.context_length_tokens,
        )
        self._whole = self._draw.columns(0, len(self.intended_ns)) if self.mode == "open" else None
        self._blocks: OrderedDict[int, SpecColumns] = OrderedDict()

    @cached_property
    def _encoder(self) -> BodyEncoder:
        """Made when a body is wanted: planners never want one, and its text takes tens of ms."""
        return BodyEncoder(
            self.classes,
            model=self.model,
            seed=self.plan.seed,
            preamble_tokens=self.plan.preamble_tokens,
            measure=self.measure,
            prompts=self.plan.prompts,
            api=self.plan.api,
        )

    def columns(self, start: int = 0, count: int | None = None) -> SpecColumns:
        """The specs of a range of ids as vectors; without arguments, of the whole schedule (open loop)."""
        if count is None:
            count = len(self.intended_ns) - start
        return self._draw.columns(start, count)

    def spec(self, id: int) -> RequestSpec:
        """What request id asks. IndexError where there is none: open loop, its arrival is not in
        0..len(intended_ns) - 1; of a session, it has fewer calls.

        An arrival's first request has the arrival's number; a session's later ones are named by next_turn().
        """
        arrival, call = split_id(id)
        return self._sessions.spec(self._first(arrival), call)

    def session_turns(self, id: int) -> int:
        """Calls of the session that request id belongs to; 1 for a request of its own."""
        return len(self._sessions.steps(self._first(split_id(id)[0]))) + 1

    def next_turn(self, id: int, outcome: TurnOutcome) -> NextTurn | None:
        """What follows the end of request id, and after which wait; None where nothing does: a request of its
        own, a session's last call, or one that failed.
        """
        return self._sessions.next_turn(self._first(split_id(id)[0]), id, outcome)

    @property
    def has_sessions(self) -> bool:
        return self.plan.trace is None and any(cls.session is not None for cls in self.classes)

    def _first(self, id: int) -> RequestSpec:
        columns = self._holding(id)
        row = id - columns.start
        cls = self.classes[int(columns.class_index[row])]
        output, prefix = int(columns.output_tokens[row]), int(columns.prefix[row])
        return RequestSpec(
            id=id,
            class_name=cls.name,
            session=None,
            turn=0,
            model=self.model,
            prompt_tokens=int(columns.prompt_tokens[row]),
            output_tokens=None if output < 0 else output,
            reasoning_effort=cls.reasoning_effort,
            tool_names=cls.tool_names,
            tool_choice=cls.tool_choice,
            prefix_key="" if prefix < 0 else f"{cls.name}/{prefix}",
            prefix_tokens=int(columns.prefix_tokens[row]),
            asked_tokens=int(columns.asked_tokens[row]),
            block_ids=() if self.trace_blocks is None else self.trace_blocks.of(id),
            block_tokens=0 if self.trace_blocks is None else self.trace_blocks.block_tokens,
        )

    def body(self, id: int) -> bytes:
        """The JSON body of POST /v1/chat/completions for request id."""
        return self._encoder.body(self.spec(id))

    def body_parts(self, id: int) -> BodyParts:
        """The same for sending: large texts that requests share are held once."""
        return self._encoder.body_parts(self.spec(id))

    def think_time_s(self, id: int) -> float:
        """Closed loop: how long the user of request id thinks after its answer; 0 in an open loop."""
        think = self.plan.scenario.load.think_time_s
        if think is None or self.mode == "open":
            return 0.0
        return float(think.quantile(uniforms(self.plan.seed, "think_time_s", id, 1))[0])

    @property
    def notes(self) -> tuple[str, ...]:
        """Where the workload differs from what was asked, a sentence each (open loop)."""
        if self._whole is None:
            return ()
        notes = self._whole.notes(self.plan.context_length_tokens)
        if self.plan.trace is not None and self.plan.trace.skipped:
            rows = f"{self.plan.trace.skipped:,} rows of {self.plan.trace.name} failed where it was recorded"
            notes = (*notes, f"{rows} (no prompt or no answer), and are left out")
        own, sent = self.plan.prompts, len(self.intended_ns)
        if own is not None and sent > len(own.messages):
            repeats = f"{len(own.messages)} prompts for {sent} requests: repeats hit the prefix cache"
            return (*notes, f"{repeats}, and flatter time and cost")
        return notes

    @property
    def schedule_hash(self) -> str:
        """SHA-256 (hex) of the intended starts, the vectors of class, lengths and prefix, and the texts.

        Equal hashes: the same bytes at the same times. A closed loop has no end and hashes its first ids, its
        users and their first think times.
        """
        columns = self.columns(0, _HASHED_IDS) if self._whole is None else self._whole
        extra = []
        if self.trace_blocks is not None:
            extra.append(self.trace_blocks.ids.astype("<i8").tobytes())
        if self.mode == "closed":
            think = [self.think_time_s(id) for id in range(64)]
            extra.append(f"{self.users}/{think}".encode())
        return fingerprint(self._encoder.material(), self.intended_ns, columns, extra=extra)

    def _holding(self, id: int) -> SpecColumns:
        if self._whole is not None:
            if not 0 <= id < len(self.intended_ns):
                raise IndexError(f"request id {id} is not in 0..{len(self.intended_ns) - 1}")
            return self._whole
        if id < 0:
            raise IndexError(f"request id {id} is negative")
        number = id // _BLOCK
        block = self._blocks.get(number)
        if block is None:
            block = self._blocks[number] = self._draw.columns(number * _BLOCK, _BLOCK)
            if len(self._blocks) > _BLOCKS_KEPT:
                self._blocks.popitem(last=False)
        return block


def _arrivals(
    plan: WorkloadPlan,
) -> tuple[NDArray[np.int64], tuple[NDArray[np.int64], NDArray[np.int64]] | None, TraceBlocks | None]:
    """Starts; and of a trace the (input, output) tokens and the blocks of its prompts."""
    load = plan.scenario.load
    if plan.trace is not None:
        return plan.trace.until(plan.duration)
    if plan.mode == "closed":
        return np.empty(0, dtype=np.int64), None, None
    rate_rps = plan.rate_rps or load.rate_rps
    assert rate_rps is not None  # mode is open
    starts = load_starts(load, rate_rps=rate_rps, duration_s=plan.duration, seed=plan.seed)
    return starts, None, None
