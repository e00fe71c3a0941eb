"""Batch: what one step works on, as the scheduler chose it."""

from typing import NamedTuple

from servebench.engine.sequence import Sequence


class Batch(NamedTuple):
    """One step's work. decoding: sequences; chunks: (sequence, tokens) of prefill; the sums are those of
    StepTimeModel.step()."""

    number: int
    decoding: int
    context_tokens: int
    chunks: list[tuple[Sequence, int]]
    prefill_tokens: int
    prefill_pairs: float
