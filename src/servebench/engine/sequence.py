"""Sequence: one request as the engine holds it. Emission: the tokens it gained in one step."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from servebench.engine.prefix_tree import Run


class SequenceDoesNotFitError(ValueError):
    """The sequence could never run on this replica: refused at the door, so that it can't starve the rest."""


class QueueFullError(Exception):
    """As many sequences wait as may: the caller answers that the service is at capacity."""


class State(Enum):
    NEW = "new"
    WAITING = "waiting"
    PREFILLING = "prefilling"
    DECODING = "decoding"
    FINISHED = "finished"
    CANCELLED = "cancelled"


@dataclass(slots=True, eq=False)
class Sequence:
    """A prompt and the tokens to generate for it; times are seconds on the caller's clock, None until then.

    output_tokens: all that will be generated, reasoning included. block_keys: chained keys of the prompt's
    whole blocks (kv_cache.prompt_block_keys), empty for a prompt that shares nothing. workload: what it is
    asked for, by which the accepted drafts may differ. prefilled: another replica computed its prompt and
    first token; its KV is here at ready_s.
    """

    id: int
    arrival_s: float
    prompt_tokens: int
    output_tokens: int
    block_keys: tuple[int, ...] = ()
    workload: str = ""
    prefilled: bool = False
    # filled in by the engine
    cached_tokens: int = 0  # prompt tokens found in the prefix cache at first admission
    admitted_s: float | None = None
    first_token_s: float | None = None
    finished_s: float | None = None
    preemptions: int = 0
    generated: int = 0  # while it decodes, up to date only when it leaves or is due
    state: State = State.NEW
    ready_s: float = 0.0  # arrival + the host's TTFT floor, and not before it was submitted
    # the scheduler's own
    prefill_target: int = 0  # tokens to have in KV before the next token comes out
    computed: int = 0  # of prefill_target
    held_keys: int = 0  # leading block_keys this sequence holds in the prefix cache
    held_run: Run | None = None  # where in the prefix tree they end
    private_blocks: int = 0
    admission: int = 0  # admission order, for preemption
    next_event: int = 0  # value of generated at which it finishes or needs a block
    joined_clock: int = 0  # of the steps of its batch, less what it had generated when it joined
    due_clock: int = -1
    draws: Iterator[int] | None = None  # what its steps with drafts yield
    steady: "Emission" = field(
        init=False, repr=False
    )  # of an ordinary decode step; made once, it never differs

    def __post_init__(self) -> None:
        if self.prompt_tokens < 1 or self.output_tokens < 1:
            raise ValueError(
                f"sequence {self.id}: prompt_tokens and output_tokens must be at least 1, "
                f"not {self.prompt_tokens} and {self.output_tokens}"
            )
        self.steady = Emission(self, 1, False, False)

    def require_fit(self, *, window_tokens: int, pool_tokens: int) -> None:
        """Raises SequenceDoesNotFitError where prompt and output exceed the context window or the KV pool."""
        total = self.prompt_tokens + self.output_tokens
        for limit, name in ((window_tokens, "context window"), (pool_tokens, "KV pool")):
            if total > limit:
                raise SequenceDoesNotFitError(
                    f"sequence {self.id}: prompt and output of {total} tokens exceed the {name} of {limit}"
                )


class Emission(NamedTuple):
    """What one sequence gained in one step. first: its first token is among them; finished: its last is."""

    sequence: Sequence
    tokens: int
    first: bool
    finished: bool
