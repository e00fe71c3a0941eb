"""EngineLog: the engine's own times of the last steps and sequences of a replica, for whoever checks the wire
against them. Engine seconds throughout; late_s is in real seconds.

A virtual replica that is given the same sequences, ready at the same moments, makes the same steps.
"""

from array import array
from collections import deque
from typing import Any

from servebench.engine.sequence import Sequence

STEPS = 20_000
SEQUENCES = 1_000
KEYS = 64  # block keys kept of a sequence; a long prompt's would be a megabyte


class EngineLog:
    """Bounded: the oldest go first. A sequence is noted when it ends."""

    def __init__(self) -> None:
        self._ends_s, self._late_s = array("d"), array("d")  # rings, once they are full
        self._steps = 0
        self._sequences: deque[tuple[Any, ...]] = deque(maxlen=SEQUENCES)

    def step(self, end_s: float, late_s: float) -> None:
        if self._steps < STEPS:
            self._ends_s.append(end_s)
            self._late_s.append(late_s)
        else:
            place = self._steps % STEPS
            self._ends_s[place], self._late_s[place] = end_s, late_s
        self._steps += 1

    def sequence(self, sequence: Sequence) -> None:
        keys = sequence.block_keys
        self._sequences.append(
            (
                sequence.id,
                sequence.arrival_s,
                sequence.ready_s,
                sequence.admitted_s,
                sequence.first_token_s,
                sequence.finished_s,
                sequence.prompt_tokens,
                sequence.cached_tokens,
                sequence.output_tokens,
                sequence.preemptions,
                sequence.workload,
                keys if len(keys) <= KEYS else None,
            )
        )

    def to_json(self) -> dict[str, Any]:
        """block_keys are null where they were too many to keep."""
        names = (
            "id", "arrival_s", "ready_s", "admitted_s", "first_token_s", "finished_s", "prompt_tokens",
            "cached_tokens", "output_tokens", "preemptions", "workload", "block_keys",
        )  # fmt: skip
        return {
            "step_ends_s": self._in_order(self._ends_s),
            "step_late_s": self._in_order(self._late_s),
            "sequences": [dict(zip(names, row, strict=True)) for row in self._sequences],
        }

    def _in_order(self, ring: "array[float]") -> list[float]:
        start = self._steps % STEPS if self._steps > STEPS else 0
        return [*ring[start:], *ring[:start]]
