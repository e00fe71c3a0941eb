"""Demand: a scenario's requests without a rate, so that every probe of a search asks the same requests with
the same gaps, only closer together.
"""

from dataclasses import dataclass
from functools import cached_property
from math import log

import numpy as np

from servebench.catalog.tiers import Tier
from servebench.engine.speculation import TOOLS
from servebench.errors import UsageError
from servebench.normal import inverse_normal
from servebench.plan.traffic import Floats, FollowUp, Ints, Keys, Traffic, session_keys
from servebench.workload.draws import generator, uniforms
from servebench.workload.plan import Workload, WorkloadPlan
from servebench.workload.scenario import Scenario
from servebench.workload.sessions import TurnOutcome

_CALLS_KEYED = 1 << 20  # draws of session s, call c are numbered s + c * _CALLS_KEYED
_ROUGH_TOKEN_S, _ROUGH_CALL_S = 0.015, 0.5  # to guess how long a session lasts, before anything is simulated


@dataclass(frozen=True, slots=True)
class Means:
    """Of an arrival: its calls and, of all of them together, prompt and generated tokens, and waits
    between.
    """

    calls: float
    prompt_tokens: float
    output_tokens: float
    waits_s: float
    repeated_tokens: float = 0.0  # of the prompts, what a session's call before has sent already

    @property
    def tokens(self) -> float:
        return self.prompt_tokens + self.output_tokens

    @property
    def lasts_s(self) -> float:
        """A guess of an arrival's time from first to last token."""
        return self.waits_s + self.output_tokens * _ROUGH_TOKEN_S + self.calls * _ROUGH_CALL_S


class Demand:
    """The requests of a scenario for a tier, in any number and at any rate; the same for equal seeds.

    Row k is the same arrival whatever the count. Of single requests only the beginnings that requests share
    are keyed for the prefix cache: their unique tails could never be hit again, and the memory they would
    age out of is not modelled. A session's prompts are keyed whole: its next call begins with them.
    """

    def __init__(self, scenario: Scenario, tier: Tier, *, seed: int = 0) -> None:
        self.scenario, self.tier, self.seed = scenario, tier, seed
        self.class_names = tuple(cls.name for cls in scenario.classes)
        self._count = 0
        self._follow_ups: list[tuple[FollowUp, ...]] = []

    @cached_property
    def _workload(self) -> Workload:
        # as a closed loop it has requests by id and no schedule: arrivals are this module's
        return WorkloadPlan(
            scenario=self.scenario,
            seed=self.seed,
            model=self.tier.id,
            bytes_per_token=self.tier.bytes_per_token,
            preamble_tokens=self.tier.preamble_tokens,
            context_length_tokens=self.tier.context_length_tokens,
            users=1,
        ).build()

    @property
    def has_sessions(self) -> bool:
        return self._workload.has_sessions

    def _grow(self, count: int) -> None:
        if count <= self._count:
            return
        columns = self._workload.columns(0, count)
        self._class_index = columns.class_index
        self._prompt_tokens = columns.prompt_tokens
        ids = np.arange(count)
        self._output_tokens = self._generated(columns.output_tokens, columns.class_index, ids)
        room = self.tier.context_length_tokens - self._prompt_tokens
        self._output_tokens = np.maximum(1, np.minimum(self._output_tokens, room))
        if self.has_sessions:
            self._follow_ups += [self._session(row) for row in range(self._count, count)]
        self._keys = self._shared_keys(columns.prefix, columns.prefix_tokens)
        self._count = count

    def _session(self, row: int) -> tuple[FollowUp, ...]:
        """The later calls of the session that arrival `row` begins, each with a whole answer before it."""
        workload, waits_s = self._workload, []
        done = TurnOutcome(ok=True, tool_calls=1)
        following = workload.next_turn(row, done)
        specs = []
        while following is not None:
            waits_s.append(following.wait_s)
            specs.append(workload.spec(following.id))
            following = workload.next_turn(following.id, done)
        if not specs:
            return ()
        visible = np.array([-1 if s.output_tokens is None else s.output_tokens for s in specs])
        classes = np.full(len(specs), self._class_index[row])
        ids = row + (1 + np.arange(len(specs))) * _CALLS_KEYED
        prompts = np.array([s.prompt_tokens for s in specs])
        room = np.maximum(1, self.tier.context_length_tokens - prompts)
        outputs = np.maximum(1, np.minimum(self._generated(visible, classes, ids), room))
        rows = zip(waits_s, prompts.tolist(), outputs.tolist(), strict=True)
        return tuple(FollowUp(*each) for each in rows)

    def _generated(self, visible: Ints, class_index: Ints, ids: Ints) -> Ints:
        """Visible and reasoning tokens, drawn as the tier draws them where the request doesn't say."""
        tier = self.tier
        drawn = np.exp(tier.output_tokens_mu + tier.output_tokens_sigma * self._normal("visible", ids))
        total = np.where(visible >= 0, visible, np.maximum(1, np.rint(drawn))).astype(np.int64)
        spread = np.exp(tier.reasoning_tokens_sigma * self._normal("reasoning", ids))
        for k, cls in enumerate(self.scenario.classes):
            effort = cls.reasoning_effort or tier.default_reasoning_effort
            if effort not in tier.reasoning_tokens:
                raise UsageError(
                    f"class {cls.name}: {tier.id} knows no reasoning_effort {effort!r}; "
                    f"known: {', '.join(tier.reasoning_tokens)}"
                )
            median = tier.reasoning_tokens[effort]
            if median > 0:
                rows = class_index == k
                total[rows] += np.rint(np.exp(log(median)) * spread[rows]).astype(np.int64)
        return total

    def _normal(self, purpose: str, ids: Ints) -> Floats:
        """Standard normal numbers of these ids."""
        first, apart = int(ids[0]), len(ids) > 1 and int(ids[1] - ids[0]) > 1
        if apart:  # a session's calls: each has a number of its own
            u = np.concatenate([uniforms(self.seed, f"plan/{purpose}", int(i), 1) for i in ids])
        else:
            u = uniforms(self.seed, f"plan/{purpose}", first, len(ids))
        return inverse_normal(u)

    def _shared_keys(self, prefix: Ints, prefix_tokens: Ints) -> tuple[Keys, ...]:
        block, preamble = self.tier.serving.block_tokens, self.tier.preamble_tokens
        common = tuple(range(preamble // block))
        known: dict[tuple[int, int, int], Keys] = {}
        keys = []
        rows = zip(self._class_index.tolist(), prefix.tolist(), prefix_tokens.tolist(), strict=True)
        for row, (cls, variant, tokens) in enumerate(rows):
            shared = common
            if variant >= 0:
                name = (cls, variant, tokens)
                if name not in known:
                    start = (1 + cls << 56) + (1 + variant << 32)
                    blocks = (preamble + tokens) // block - len(common)
                    known[name] = common + tuple(range(start, start + blocks))
                shared = known[name]
            if self._follow_ups and self._follow_ups[row]:
                whole = int(self._prompt_tokens[row]) // block
                shared = shared[:whole] + session_keys(row, len(shared), whole)
            keys.append(shared)
        return tuple(keys)

    def traffic(self, count: int, *, rate_rps: float, cv: float) -> Traffic:
        """count arrivals at this rate; gaps are Gamma of this coefficient of variation (0: constant)."""
        self._grow(count)
        kinds = [TOOLS if cls.tools else "" for cls in self.scenario.classes]
        return Traffic(
            arrival_s=np.cumsum(self._gaps(count, cv)) / rate_rps,
            prompt_tokens=self._prompt_tokens[:count],
            output_tokens=self._output_tokens[:count],
            block_keys=self._keys[:count],
            follow_ups=tuple(self._follow_ups[:count]) if self.has_sessions else None,
            block_tokens=self.tier.serving.block_tokens,
            workloads=tuple(kinds[k] for k in self._class_index[:count].tolist()),
        )

    def class_of(self, origin: Ints) -> Ints:
        """The class of each of these arrivals."""
        self._grow(int(origin.max(initial=0)) + 1)
        return self._class_index[origin]

    def means(self, count: int = 2_000) -> Means:
        """Over the first `count` arrivals; a tenth of that of sessions, which are long."""
        if self.has_sessions:
            count = max(1, count // 10)
        self._grow(count)
        later = [call for calls in self._follow_ups[:count] for call in calls]
        prompts = float(self._prompt_tokens[:count].sum()) + sum(call.prompt_tokens for call in later)
        outputs = float(self._output_tokens[:count].sum()) + sum(call.output_tokens for call in later)
        waits_s = sum(call.wait_s for call in later)
        repeated = sum(self._repeated(row) for row in range(count)) if self.has_sessions else 0
        return Means(
            1 + len(later) / count, prompts / count, outputs / count, waits_s / count, repeated / count
        )

    def _repeated(self, row: int) -> int:
        """Prompt tokens of a session's later calls that the call before began with."""
        prompts = [int(self._prompt_tokens[row]), *(call.prompt_tokens for call in self._follow_ups[row])]
        return sum(prompts[:-1])

    def _gaps(self, count: int, cv: float) -> Floats:
        """Their mean is 1 and not only expected to be: of 1,500 gaps of CV 2 it would be off by 5 %, and the
        rate that is judged with it."""
        if cv == 0:
            return np.ones(count)
        drawn = generator(self.seed, "plan/gaps").standard_gamma(cv**-2.0, size=count)
        gaps: Floats = drawn / drawn.mean()
        return gaps
