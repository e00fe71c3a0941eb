"""TraceArrays: a trace inside a plan, as it travels to the workers."""

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from servebench.workload.trace_blocks import TraceBlocks

Ints = NDArray[np.int64]


class TraceArrays(BaseModel):
    """Starts (ns since the start of the run, sorted) and lengths, row k of request k; and, of a trace that
    tells which prompts share their beginnings, the ids of all prompts' blocks, packed (trace_blocks.py).
    skipped: rows of its file that are not here, because they failed where they were recorded.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    arrival_ns: tuple[int, ...]
    input_tokens: tuple[int, ...]
    output_tokens: tuple[int, ...]
    duration_s: float = Field(gt=0)
    block_tokens: int | None = Field(default=None, gt=0)
    block_ids: str | None = None
    skipped: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _even(self) -> "TraceArrays":
        if not len(self.arrival_ns) == len(self.input_tokens) == len(self.output_tokens):
            raise ValueError("arrival_ns, input_tokens and output_tokens must have one entry a request")
        if (self.block_tokens is None) != (self.block_ids is None):
            raise ValueError("block_tokens and block_ids belong together")
        self.blocks()
        return self

    def blocks(self) -> TraceBlocks | None:
        """The blocks of the prompts; None for a trace without."""
        if self.block_tokens is None or self.block_ids is None:
            return None
        inputs = np.array(self.input_tokens, dtype=np.int64)
        return TraceBlocks.unpack(self.block_ids, block_tokens=self.block_tokens, input_tokens=inputs)

    def until(self, duration_s: float) -> tuple[Ints, tuple[Ints, Ints], TraceBlocks | None]:
        """Starts before duration_s, (input, output) tokens and blocks of those requests."""
        starts = np.array(self.arrival_ns, dtype=np.int64)
        kept = starts < round(duration_s * 1e9)
        inputs, outputs = (
            np.array(vector, dtype=np.int64)[kept] for vector in (self.input_tokens, self.output_tokens)
        )
        blocks = self.blocks()
        return starts[kept], (inputs, outputs), blocks and blocks.rows(np.flatnonzero(kept))
