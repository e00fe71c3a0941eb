"""PromptSizes: the lengths of the user's own prompts for a target, by request id."""

from collections.abc import Sequence

import numpy as np
import orjson
from numpy.typing import NDArray

from servebench.workload.measure import Measure
from servebench.workload.prompt_set import PromptSet
from servebench.workload.prompts import billed_tokens
from servebench.workload.request_class import RequestClass

Ints = NDArray[np.int64]


class PromptSizes:
    """Request id sends prompt id modulo their number, with the tools of its class."""

    def __init__(
        self,
        prompts: PromptSet,
        classes: Sequence[RequestClass],
        *,
        preamble_tokens: int,
        measure: Measure,
    ) -> None:
        ratio = measure.units_per_token

        def billed(size: int) -> int:
            return billed_tokens(size, preamble_tokens=preamble_tokens, units_per_token=ratio)

        sizes: Sequence[int] = prompts.content_bytes
        if measure.tokenizer != "bytes":
            sizes = [measure.content_units(orjson.loads(messages)) for messages in prompts.messages]
        tools = [measure.tools_units(cls) for cls in classes]
        self._prompt_tokens = np.array(
            [[billed(size + more) for size in sizes] for more in tools], dtype=np.int64
        )
        self._output_tokens = np.array(
            [
                -1
                if tokens is None and size is None
                else tokens or max(1, round((size or 0) / measure.bytes_per_token))
                for tokens, size in zip(prompts.output_tokens, prompts.output_bytes, strict=True)
            ],
            dtype=np.int64,
        )

    @property
    def longest_tokens(self) -> int:
        return int(self._prompt_tokens.max())

    def lengths(self, start: int, class_index: Ints, output_tokens: Ints) -> tuple[Ints, Ints]:
        """Prompt and output tokens of the ids from start on; output as drawn where the prompt states none."""
        row = (start + np.arange(len(class_index))) % self._prompt_tokens.shape[1]
        own = self._output_tokens[row]
        return self._prompt_tokens[class_index, row], np.where(own >= 0, own, output_tokens)
