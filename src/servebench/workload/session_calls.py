"""SessionCalls: the calls of the sessions of a workload, each from its session's first one."""

import dataclasses
from collections import OrderedDict
from collections.abc import Sequence

from servebench.workload.draws import uniforms
from servebench.workload.request_class import RequestClass
from servebench.workload.sessions import (
    MAX_CALLS,
    NextTurn,
    Step,
    TurnOutcome,
    join_id,
    prompt_tokens_after,
    session_steps,
    split_id,
)
from servebench.workload.spec import RequestSpec

_KEPT = 4096  # sessions whose steps are remembered: those under way


class SessionCalls:
    """Answers for every session by its first call's spec; remembers nothing that could not be drawn again."""

    def __init__(self, classes: Sequence[RequestClass], *, seed: int, context_length_tokens: int) -> None:
        self._classes = {cls.name: cls for cls in classes if cls.session is not None}
        self._seed = seed
        self._context_tokens = context_length_tokens
        self._steps: OrderedDict[int, tuple[Step, ...]] = OrderedDict()

    def steps(self, first: RequestSpec) -> tuple[Step, ...]:
        """The steps between the calls that follow this one; () for a class without sessions."""
        cls = self._classes.get(first.class_name)
        if cls is None or cls.session is None:
            return ()
        steps = self._steps.get(first.id)
        if steps is None:
            room = self._context_tokens - first.prompt_tokens - (first.output_tokens or 1)
            steps = self._steps[first.id] = session_steps(
                cls.session, seed=self._seed, session=first.id, growth_tokens=room
            )
            if len(self._steps) > _KEPT:
                self._steps.popitem(last=False)
        return steps

    def spec(self, first: RequestSpec, call: int) -> RequestSpec:
        """Call `call` of the session that begins with first. IndexError beyond its last."""
        cls = self._classes.get(first.class_name)
        steps = self.steps(first)
        if not 0 <= call <= len(steps):
            raise IndexError(f"request {first.id} has {len(steps) + 1} calls, none of number {call}")
        if cls is None:
            return first
        prompt_tokens = prompt_tokens_after(first.prompt_tokens, steps[:call])
        choice = None
        if cls.tools:
            choice = "required" if call < len(steps) and steps[call].role == "tool" else "none"
        return dataclasses.replace(
            first,
            id=join_id(first.id, call),
            session=first.id,
            turn=call,
            prompt_tokens=prompt_tokens,
            asked_tokens=first.asked_tokens + prompt_tokens - first.prompt_tokens,
            output_tokens=self._output_tokens(cls, first, call, prompt_tokens),
            tool_choice=choice,
            history=steps[:call],
        )

    def next_turn(self, first: RequestSpec, id: int, outcome: TurnOutcome) -> NextTurn | None:
        """What follows request id; None where its session ends: done, or failed.

        A call fails its session when no whole answer came, or no tool call where one was asked for.
        """
        _, call = split_id(id)
        steps = self.steps(first)
        if call >= len(steps) or not outcome.ok:
            return None
        if steps[call].role == "tool" and outcome.tool_calls < 1:
            return None
        return NextTurn(join_id(first.id, call + 1), steps[call].wait_s)

    def _output_tokens(
        self, cls: RequestClass, first: RequestSpec, call: int, prompt_tokens: int
    ) -> int | None:
        if cls.output_tokens is None or call == 0:
            return first.output_tokens
        u = uniforms(self._seed, "session/output_tokens", first.id * MAX_CALLS + call, 1)
        return max(1, min(int(cls.output_tokens.tokens(u)[0]), self._context_tokens - prompt_tokens))
