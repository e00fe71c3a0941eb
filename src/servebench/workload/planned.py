"""Planned: every request of a run before it is sent, the later calls of sessions among them, and how much of
each prompt an earlier one has already brought.

The cache is the ideal one: it never evicts, keeps whole blocks of 64 tokens (xAI's cached counts are
multiples of it), and has a prompt from its intended start on. A prompt begins with the hidden preamble, which
every request shares, then the tools, then the shared prefix; of a session, with the whole prompt before it.
A run sees less where a prompt is still being read when the next one with its beginning comes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servebench.workload.columns import SpecColumns
from servebench.workload.plan import Workload
from servebench.workload.sessions import join_id

Ints = NDArray[np.int64]

CACHE_BLOCK_TOKENS = 64


@dataclass(frozen=True, slots=True)
class Planned:
    """Row by row: arrival (the number of the arrival it belongs to), call (0 = its first), class_index in the
    scenario's order, prompt_tokens, output_tokens (-1: no limit), cached_tokens (the ideal cache's hit).

    Later calls are those drawn; a run that ends before they are due does not send them.
    """

    arrival: Ints
    call: Ints
    class_index: Ints
    prompt_tokens: Ints
    output_tokens: Ints
    cached_tokens: Ints

    def __len__(self) -> int:
        return len(self.arrival)

    def cache_share(self, rows: "NDArray[np.bool_] | None" = None) -> float:
        """Share of the prompt tokens (of some rows) that the ideal cache has; 0 for none."""
        prompt, cached = self.prompt_tokens, self.cached_tokens
        if rows is not None:
            prompt, cached = prompt[rows], cached[rows]
        total = int(prompt.sum())
        return int(cached.sum()) / total if total else 0.0


def planned(workload: Workload, *, count: int | None = None) -> Planned:
    """All requests of an open loop in the order of their arrivals; of a closed loop the first `count`."""
    columns = workload.columns(0, count)
    first = Planned(
        arrival=np.arange(len(columns.class_index)),
        call=np.zeros(len(columns.class_index), dtype=np.int64),
        class_index=columns.class_index,
        prompt_tokens=columns.prompt_tokens,
        output_tokens=columns.output_tokens,
        cached_tokens=np.minimum(_hits(workload, columns), _whole_blocks(columns.prompt_tokens - 1)),
    )
    later = _later_calls(workload, first) if workload.has_sessions else []
    if not later:
        return first
    more = np.array(later, dtype=np.int64).T
    old = (
        first.arrival, first.call, first.class_index,
        first.prompt_tokens, first.output_tokens, first.cached_tokens,
    )  # fmt: skip
    joined = [np.concatenate(pair) for pair in zip(old, more, strict=True)]
    order = np.lexsort((joined[1], joined[0]))
    return Planned(*(vector[order] for vector in joined))


def _later_calls(workload: Workload, first: Planned) -> list[tuple[int, int, int, int, int, int]]:
    rows = []
    for arrival in first.arrival.tolist():
        cls = int(first.class_index[arrival])
        if workload.classes[cls].session is None:
            continue
        before = int(first.prompt_tokens[arrival])
        for call in range(1, workload.session_turns(arrival)):
            spec = workload.spec(join_id(arrival, call))
            output = -1 if spec.output_tokens is None else spec.output_tokens
            cached = before // CACHE_BLOCK_TOKENS * CACHE_BLOCK_TOKENS
            rows.append((arrival, call, cls, spec.prompt_tokens, output, cached))
            before = spec.prompt_tokens
    return rows


def _hits(workload: Workload, columns: SpecColumns) -> Ints:
    """Tokens of each arrival's first prompt that an earlier one began with, in whole blocks."""
    plan = workload.plan
    measure = workload.measure
    tools = np.array([measure.tools_units(cls) for cls in workload.classes], dtype=np.int64)
    same_tools = np.array([_key(cls.tool_schemas, workload) for cls in workload.classes], dtype=np.int64)
    with_tools = plan.preamble_tokens + tools[columns.class_index] / measure.units_per_token
    seen = np.arange(len(columns.class_index)) > 0
    hits = np.where(seen, plan.preamble_tokens, 0)
    hits = np.where(_again(same_tools[columns.class_index]), with_tools.astype(np.int64), hits)
    if workload.trace_blocks is not None:
        blocks = workload.trace_blocks.hit_tokens(columns.prompt_tokens)
        return _whole_blocks(np.maximum(hits, blocks))
    if plan.prompts is not None:
        row = np.arange(columns.start, columns.start + len(hits)) % len(plan.prompts.messages)
        again = _again(row * len(tools) + same_tools[columns.class_index])
        return _whole_blocks(np.where(again, columns.prompt_tokens, hits))
    shared = columns.prefix >= 0
    names = columns.class_index * (int(columns.prefix.max(initial=0)) + 2) + columns.prefix + 1
    again = shared & _again(np.where(shared, names, -1))
    return _whole_blocks(np.where(again, (with_tools + columns.prefix_tokens).astype(np.int64), hits))


def _key(schemas: tuple[object, ...], workload: Workload) -> int:
    """The number of the first class with these tools."""
    return next(k for k, cls in enumerate(workload.classes) if cls.tool_schemas == schemas)


def _again(names: Ints) -> "NDArray[np.bool_]":
    """Whether each name has been there before."""
    _, first = np.unique(names, return_index=True)
    again = np.ones(len(names), dtype=np.bool_)
    again[first] = False
    return again


def _whole_blocks(tokens: Ints) -> Ints:
    return tokens // CACHE_BLOCK_TOKENS * CACHE_BLOCK_TOKENS
