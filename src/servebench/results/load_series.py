"""LoadSeries: what a run's records say of it over time: in flight, tokens out, TTFT.

Tokens count when they are emitted, by the times of their chunks, never when their request completes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servebench.results.chunk_times import ChunkTimes
from servebench.results.columns import Columns
from servebench.results.steady_state import Steadiness, Window, mser5

STEPS = 600  # of the steady window: 20, 24, 25 and 30 batches are whole steps
_MOST_BEFORE = 5_400  # steps of a warm-up that is long against the window
_BLOCK = 4_000  # requests: their chunks at once, and the arrays stay in the cache

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LoadSeries:
    """Steps of step_s from start_s on; the first step at or before T0, `inside` those of the window.

    in_flight: mean over each step, sent and not ended. tokens_per_s: emitted. ttft_s: of the requests that
    have one, by intended start, and those starts ttft_at_s.
    """

    start_s: float
    step_s: float
    inside: slice
    in_flight: Floats
    tokens_per_s: Floats
    ttft_at_s: Floats
    ttft_s: Floats

    @classmethod
    def of(cls, columns: Columns, chunks: ChunkTimes, window: Window) -> "LoadSeries | None":
        """Until the end of the window; None of an empty one."""
        if window.duration_s <= 0 or not len(columns):
            return None
        start_s, end_s = window.start_ns / 1e9, window.end_ns / 1e9
        step_s = (end_s - start_s) / STEPS
        before = min(int(np.ceil(start_s / step_s - 1e-9)), _MOST_BEFORE)
        edges_s = np.asarray(start_s + np.arange(-before, STEPS + 1) * step_s, dtype=np.float64)
        at = columns.numbers
        ttft_s, intended_s = columns.latency_s("ttft"), at["intended_ns"] / 1e9
        told = np.flatnonzero(np.isfinite(ttft_s) & (intended_s < end_s))
        told = told[np.argsort(intended_s[told], kind="stable")]
        return cls(
            start_s=float(edges_s[0]),
            step_s=step_s,
            inside=slice(before, before + STEPS),
            in_flight=mean_in_flight(at["sent_ns"] / 1e9, at["end_ns"] / 1e9, edges_s),
            tokens_per_s=_emitted(columns, chunks, edges_s) / step_s,
            ttft_at_s=intended_s[told],
            ttft_s=ttft_s[told],
        )

    def steadiness(self) -> Steadiness:
        """MSER-5 on each of the three, from T0 on."""
        run_s = self.start_s + len(self.in_flight) * self.step_s
        cuts: dict[str, float | None] = {}
        for name, values in (("in_flight", self.in_flight), ("output_tokens_per_s", self.tokens_per_s)):
            cut = mser5(values)
            cuts[name] = None if cut is None else max(self.start_s + cut * self.step_s, 0.0)
        cut = mser5(self.ttft_s)
        cuts["ttft"] = None if cut is None else float(self.ttft_at_s[cut]) if cut else 0.0
        return Steadiness(cuts, run_s)


def mean_in_flight(starts_s: Floats, ends_s: Floats, edges_s: Floats) -> Floats:
    """The mean number of spans that cover each step; exact."""
    sent = ~np.isnan(starts_s)
    since_start, since_end = (_area(values[sent], edges_s) for values in (starts_s, ends_s))
    return np.asarray(np.diff(since_start - since_end) / np.diff(edges_s))


def _area(times_s: Floats, edges_s: Floats) -> Floats:
    """sum over the times before each edge of (edge - time)."""
    ordered = np.sort(times_s)
    passed = np.searchsorted(ordered, edges_s)
    sums = np.concatenate(([0.0], np.cumsum(ordered)))
    return np.asarray(passed * edges_s - sums[passed])


def _emitted(columns: Columns, chunks: ChunkTimes, edges_s: Floats) -> Floats:
    """Tokens emitted in each step: each chunk of a request carries the same share of its tokens."""
    steps = len(edges_s) - 1
    start_us, end_us = float(edges_s[0]) * 1e6, float(edges_s[-1]) * 1e6
    per_us = steps / (end_us - start_us)
    tokens = columns.tokens()
    streamed, sent_ns = tokens["output"] + tokens["reasoning"], columns.numbers["sent_ns"]
    emitted = np.zeros(steps + 1)
    for first in range(0, len(columns), _BLOCK):
        rows = slice(first, min(first + _BLOCK, len(columns)))
        at_us, counts = chunks.between(rows.start, rows.stop).at_us(sent_ns[rows])
        per_chunk = streamed[rows] / np.maximum(counts, 1)
        step = ((at_us - start_us) * per_us).clip(0, steps - 1).astype(np.intp)
        step[(at_us < start_us) | (at_us >= end_us)] = steps  # one more, for what lies outside
        np.add.at(emitted, step, np.repeat(per_chunk, counts))
    return emitted[:steps]
