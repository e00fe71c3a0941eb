"""The sequences that decode: what one step gives each, and which of them need something after it.

Without drafts every sequence gains one token a step, so a step is a count, two sums and a heap of the steps
at which a sequence ends or fills its blocks, whatever the batch. With drafts each sequence draws its gain.
"""

from collections.abc import Mapping
from heapq import heappop, heappush
from typing import NamedTuple, Protocol

from servebench.catalog.tiers import ServingProfile
from servebench.engine.sequence import Emission, Sequence, State
from servebench.engine.speculation import Acceptance


class Decoded(NamedTuple):
    """due: sequences that ended or need a block, their `generated` up to date. emissions: where asked for."""

    tokens: int
    due: list[Sequence]
    emissions: list[Emission]


class Decoding(Protocol):
    """members: by id, to look at. context_tokens: sum over them, the token being fed included (S_kv)."""

    members: dict[int, Sequence]
    context_tokens: int

    def join(self, sequence: Sequence) -> None:
        """From the next step on. Its next_event says at which value of generated it is due."""

    def plan(self, sequence: Sequence) -> None:
        """A member's next_event has changed."""

    def leave(self, sequence: Sequence) -> None:
        """Brings its `generated` up to date."""

    def step(self, *, emit: bool) -> Decoded: ...

    def foreseen(self) -> list[Emission]:
        """What the next step will emit; nothing where that is random."""

    def quiet_steps(self) -> int:
        """Steps from now on after which nobody is due."""

    def coast(self, steps: int) -> None:
        """So many quiet steps at once."""

    def steps_to_finish(self) -> int:
        """Steps from now on before which no member ends; 1 of none."""


def make_decoding(serving: ServingProfile, *, seed: int) -> Decoding:
    """Raises ValueError where the accepted tokens don't fit the drafts."""
    if not serving.draft_tokens:
        return SteadyDecoding()
    means = {"": serving.accepted_tokens, **serving.accepted_tokens_by_workload}
    return DraftedDecoding(
        {
            workload: Acceptance(drafts=serving.draft_tokens, mean=mean, seed=seed)
            for workload, mean in means.items()
        }
    )


class SteadyDecoding:
    """One token each a step: a member's generated is its start + the steps since, kept by one clock."""

    def __init__(self) -> None:
        self.context_tokens = 0
        self._clock = 0
        self.members: dict[int, Sequence] = {}
        self._events: list[tuple[int, int, Sequence]] = []  # (clock, tie, sequence); stale ones stay till due
        self._ties = 0

    def join(self, sequence: Sequence) -> None:
        self.members[sequence.id] = sequence
        self.context_tokens += sequence.prompt_tokens + sequence.generated
        sequence.joined_clock = self._clock - sequence.generated
        self.plan(sequence)

    def plan(self, sequence: Sequence) -> None:
        sequence.due_clock = sequence.joined_clock + sequence.next_event
        self._ties += 1
        heappush(self._events, (sequence.due_clock, self._ties, sequence))

    def leave(self, sequence: Sequence) -> None:
        del self.members[sequence.id]
        sequence.generated = self._clock - sequence.joined_clock
        sequence.due_clock = -1
        self.context_tokens -= sequence.prompt_tokens + sequence.generated

    def step(self, *, emit: bool) -> Decoded:
        members, events = self.members, self._events
        self._clock = clock = self._clock + 1
        self.context_tokens += len(members)
        due: list[Sequence] = []
        while events and events[0][0] <= clock:
            at, _, sequence = heappop(events)
            if sequence.due_clock == at:
                sequence.due_clock = -1
                sequence.generated = clock - sequence.joined_clock
                due.append(sequence)
        emissions: list[Emission] = []
        if emit:
            emissions = [s.steady for s in members.values()]
            ends = {s.id for s in due if s.generated == s.output_tokens}
            if ends:
                emissions = [
                    Emission(e.sequence, 1, False, True) if e.sequence.id in ends else e for e in emissions
                ]
        return Decoded(len(members), due, emissions)

    def foreseen(self) -> list[Emission]:
        clock = self._clock + 1
        return [
            s.steady if s.joined_clock + s.output_tokens > clock else Emission(s, 1, False, True)
            for s in self.members.values()
        ]

    def quiet_steps(self) -> int:
        events = self._events
        while events and events[0][2].due_clock != events[0][0]:
            heappop(events)
        return events[0][0] - self._clock - 1 if events else 0

    def coast(self, steps: int) -> None:
        self._clock += steps
        self.context_tokens += steps * len(self.members)

    def steps_to_finish(self) -> int:
        ends = [s.joined_clock + s.output_tokens for s in self.members.values()]
        return min(ends) - self._clock if ends else 1


class DraftedDecoding:
    """1 to m + 1 tokens each a step, drawn by the sequence's workload. acceptances[""]: of any other."""

    def __init__(self, acceptances: Mapping[str, Acceptance]) -> None:
        self.context_tokens = 0
        self._acceptances = acceptances
        self.members: dict[int, Sequence] = {}

    def join(self, sequence: Sequence) -> None:
        self.members[sequence.id] = sequence
        self.context_tokens += sequence.prompt_tokens + sequence.generated
        if sequence.draws is None:  # once: after a preemption the draws go on where they were
            acceptance = self._acceptances.get(sequence.workload, self._acceptances[""])
            sequence.draws = acceptance.draws(sequence.id)

    def plan(self, sequence: Sequence) -> None:
        """next_event is read at every step."""

    def leave(self, sequence: Sequence) -> None:
        del self.members[sequence.id]
        self.context_tokens -= sequence.prompt_tokens + sequence.generated

    def step(self, *, emit: bool) -> Decoded:
        total, due, emissions = 0, [], []
        for sequence in self.members.values():
            assert sequence.draws is not None
            left = sequence.output_tokens - sequence.generated
            tokens = next(sequence.draws)
            if tokens > left:
                tokens = left
            sequence.generated += tokens
            total += tokens
            if sequence.generated >= sequence.next_event and sequence.state is State.DECODING:
                due.append(sequence)
            if emit:
                emissions.append(Emission(sequence, tokens, False, tokens == left))
        self.context_tokens += total
        return Decoded(total, due, emissions)

    def foreseen(self) -> list[Emission]:
        return []

    def quiet_steps(self) -> int:
        return 0  # what a step gives is random

    def coast(self, steps: int) -> None:
        raise RuntimeError("with drafts no step is quiet")

    def steps_to_finish(self) -> int:
        return 1
