"""Batch: what one step works on, as the scheduler chose it."""

from dataclasses import dataclass

from servebench.engine.sequence import Sequence


@dataclass(slots=True)
class Batch:
    """One step's work. decoding: sequences; chunks: (sequence, tokens) of prefill; the sums are those of
    StepTimeModel.step()."""

    index: int
    decoding: int
    context_tokens: int
    chunks: list[tuple[Sequence, int]]
    prefill_tokens: int
    prefill_pairs: float
