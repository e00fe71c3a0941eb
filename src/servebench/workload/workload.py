"""Workload: what to ask and when, built by a WorkloadPlan (plan.py)."""

from collections import OrderedDict
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from servebench.workload.body_parts import BodyParts
from servebench.workload.columns import SpecColumns, SpecDraw
from servebench.workload.draws import uniforms
from servebench.workload.encode import BodyEncoder
from servebench.workload.fingerprint import fingerprint
from servebench.workload.schedule import load_starts
from servebench.workload.session_calls import SessionCalls
from servebench.workload.sessions import NextTurn, TurnOutcome, split_id
from servebench.workload.spec import RequestSpec
from servebench.workload.trace_blocks import TraceBlocks

if TYPE_CHECKING:
    from servebench.workload.plan import WorkloadPlan

_BLOCK = 512  # ids that a closed loop draws at once
_BLOCKS_KEPT = 8
_HASHED_IDS = 4096  # of a closed loop, whose ids have no end


class Workload:
    """What to ask and when. All of it follows from the plan; nothing here reads a clock or keeps a
    position.
    """

    def __init__(self, plan: "WorkloadPlan") -> None:
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
    plan: "WorkloadPlan",
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
