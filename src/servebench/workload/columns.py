"""SpecColumns: what a range of ids will ask, as vectors. One draw function serves whole schedules and
single ids.

Each quantity of each id has a uniform number of its own (draws.py), turned into a value by the class's
quantile function, so that any range of ids gives the same values as any other that contains them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servebench.errors import UsageError
from servebench.workload.draws import uniforms
from servebench.workload.encode import least_prompt_tokens
from servebench.workload.measure import Measure
from servebench.workload.prompt_set import PromptSet
from servebench.workload.prompt_sizes import PromptSizes
from servebench.workload.request_class import RequestClass

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SpecColumns:
    """Row k is of id start + k; every vector has the same length.

    class_index counts in the scenario's order; asked_tokens is the prompt as drawn, prompt_tokens as sent;
    output_tokens -1 = no limit sent; prefix -1 = none, else the variant and prefix_tokens its length (0 =
    none). raised and shortened count the prompts whose drawn length had to give way to the least that holds
    preamble, tools, prefix and mark, and to the context window.
    """

    start: int
    class_index: Ints
    asked_tokens: Ints
    prompt_tokens: Ints
    output_tokens: Ints
    prefix: Ints
    prefix_tokens: Ints
    raised: int
    shortened: int

    def notes(self, context_length_tokens: int) -> tuple[str, ...]:
        """What gave way, a sentence each."""
        notes = []
        if self.raised:
            notes.append(f"{self.raised} prompts raised to the least that preamble, tools and prefix leave")
        if self.shortened:
            window = f"the context window of {context_length_tokens:,} tokens"
            notes.append(f"{self.shortened} prompts shortened to {window}")
        return tuple(notes)


class SpecDraw:
    """Draws columns. lengths: (input, output) vectors of a trace in place of the classes' distributions;
    own_prefixes False: the trace says what prompts share, and the classes' shared prefixes stay out.
    """

    def __init__(
        self,
        classes: Sequence[RequestClass],
        *,
        seed: int,
        preamble_tokens: int,
        measure: Measure,
        context_length_tokens: int,
        lengths: tuple[Ints, Ints] | None = None,
        own_prefixes: bool = True,
        prompts: PromptSet | None = None,
    ) -> None:
        self._classes = classes
        self._seed = seed
        self._context_tokens = context_length_tokens
        self._lengths = lengths
        self._own_prefixes = own_prefixes and prompts is None
        self._prompts = (
            None
            if prompts is None
            else PromptSizes(prompts, classes, preamble_tokens=preamble_tokens, measure=measure)
        )
        weights = np.array([cls.weight for cls in classes], dtype=np.float64)
        self._edges = np.cumsum(weights) / weights.sum()
        self._variants = [self._variant_tokens(cls, measure) for cls in classes]
        # per class and variant: the least prompt; the last entry is the one without a prefix
        self._least = [
            _least(cls, variants, preamble_tokens=preamble_tokens, measure=measure)
            for cls, variants in zip(classes, self._variants, strict=True)
        ]
        if self._prompts is not None and self._prompts.longest_tokens >= context_length_tokens:
            raise UsageError(
                f"the longest prompt has {self._prompts.longest_tokens:,} tokens, "
                f"which leaves nothing of a context window of {context_length_tokens:,}"
            )
        for cls, least in zip(classes, self._least, strict=True):
            if least.max() >= context_length_tokens:
                raise UsageError(
                    f"class {cls.name}: preamble, tools and shared prefix are {least.max():,} tokens, "
                    f"which leaves nothing of a context window of {context_length_tokens:,}"
                )

    def columns(self, start: int, count: int) -> SpecColumns:
        """The columns of the ids start .. start + count - 1."""
        choice = np.searchsorted(self._edges, self._uniforms("class", start, count), side="right").astype(
            np.int64
        )
        prompt = np.empty(count, dtype=np.int64)
        output = np.empty(count, dtype=np.int64)
        prefix = np.full(count, -1, dtype=np.int64)
        prefix_tokens = np.zeros(count, dtype=np.int64)
        least = np.empty(count, dtype=np.int64)
        u_in = self._uniforms("input_tokens", start, count)
        u_out = self._uniforms("output_tokens", start, count)
        u_share = self._uniforms("prefix_share", start, count)
        u_variant = self._uniforms("prefix_variant", start, count)
        for k, cls in enumerate(self._classes):
            at = np.flatnonzero(choice == k)
            prompt[at] = cls.input_tokens.tokens(u_in[at])
            output[at] = -1 if cls.output_tokens is None else cls.output_tokens.tokens(u_out[at])
            if cls.shared_prefix is not None and self._own_prefixes:
                variants = self._variants[k]
                drawn = np.floor(u_variant[at] * len(variants)).astype(np.int64)
                prefix[at] = np.where(u_share[at] < cls.shared_prefix.share, drawn, -1)
                prefix_tokens[at] = np.append(variants, 0)[prefix[at]]
            least[at] = self._least[k][prefix[at]]
        if self._lengths is not None:
            prompt, output = (vector[start : start + count].copy() for vector in self._lengths)
        if self._prompts is not None:
            prompt, output = self._prompts.lengths(start, choice, output)
            least = prompt  # a user's own prompt is sent as it is
        return self._fitted(start, choice, prompt, output, prefix, prefix_tokens, least)

    def _fitted(
        self,
        start: int,
        choice: Ints,
        prompt: Ints,
        output: Ints,
        prefix: Ints,
        prefix_tokens: Ints,
        least: Ints,
    ) -> SpecColumns:
        room = self._context_tokens - np.maximum(output, 1)
        fitted = np.maximum(np.minimum(prompt, room), least)
        return SpecColumns(
            start=start,
            class_index=choice,
            asked_tokens=prompt,
            prompt_tokens=fitted,
            output_tokens=output,
            prefix=prefix,
            prefix_tokens=prefix_tokens,
            raised=int(np.count_nonzero(fitted > prompt)),
            shortened=int(np.count_nonzero(fitted < prompt)),
        )

    def _uniforms(self, purpose: str, start: int, count: int) -> NDArray[np.float64]:
        return uniforms(self._seed, purpose, start, count)

    def _variant_tokens(self, cls: RequestClass, measure: Measure) -> Ints:
        if cls.shared_prefix is None:
            return np.empty(0, dtype=np.int64)
        u = self._uniforms(f"prefix_tokens/{cls.name}", 0, cls.shared_prefix.variants)
        shortest = (
            int(np.ceil(measure.mark_units / measure.units_per_token)) + 1
        )  # a prefix must hold its own mark
        return np.maximum(cls.shared_prefix.tokens.tokens(u), shortest)


def _least(cls: RequestClass, variants: Ints, *, preamble_tokens: int, measure: Measure) -> Ints:
    lengths, index = np.unique(np.append(variants, 0), return_inverse=True)
    least = [
        least_prompt_tokens(cls, length, preamble_tokens=preamble_tokens, measure=measure)
        for length in lengths.tolist()
    ]
    return np.array(least, dtype=np.int64)[index]
