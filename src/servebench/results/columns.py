"""Columns: the records of a run as numpy arrays, and each metric's values by the same rules everywhere.

What never came is +inf: a failed request has TTFT, TTFVT, TPOT and E2E at +inf, and so has a success whose
token of that kind did not come. NaN = undefined, left out of percentiles: TPOT of a success with fewer than
two tokens apart, client lag of a request that was never sent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from operator import attrgetter
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from servebench.meter.record import Outcome, RequestRecord
from servebench.results.chunk_times import ChunkTimes
from servebench.results.slo import Goodput, Slo

T = TypeVar("T")
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
OUTCOMES = tuple(Outcome)
_OUTCOME_CODE = {outcome: code for code, outcome in enumerate(OUTCOMES)}

_NUMBERS = (
    "intended_ns", "sent_ns", "first_token_ns", "first_visible_ns", "last_token_ns", "end_ns",
    "prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens",
    "asked_prompt_tokens", "sent_prompt_tokens", "server_ttft_s",
    "chunks", "reasoning_chunks", "user_stamps", "coalesced",
    "connect_ns", "tls_ns", "throttled_ns", "retried_ns",
)  # fmt: skip
_numbers_of = attrgetter(*_NUMBERS)
_outcome_of, _class_of, _source_of = map(attrgetter, ("outcome", "class_name", "usage_source"))


@dataclass(eq=False)  # no slots: cached_property needs the dict
class Columns:
    """One row a request. numbers: the record's fields by name, None as NaN; outcome: index into OUTCOMES.

    gaps_us and gap_counts: all gaps between chunks, row by row, and how many each row has.
    """

    numbers: dict[str, Floats]
    outcome: NDArray[np.int8]
    class_code: NDArray[np.int32]
    class_names: tuple[str, ...]
    counted: Bools  # tokens counted from chunks
    by_usage: Bools  # by the server's usage
    gaps_us: NDArray[np.int32]
    gap_counts: NDArray[np.int64]

    @classmethod
    def of(cls, records: Sequence[RequestRecord], chunks: ChunkTimes) -> "Columns":
        """chunks at the same positions as records."""
        # by record, not by field: each of them is far from the next in memory
        values = chain.from_iterable(map(_numbers_of, records))
        table = np.fromiter(values, np.float64, len(records) * len(_NUMBERS))
        table = table.reshape(len(records), len(_NUMBERS))
        numbers = dict(zip(_NUMBERS, np.ascontiguousarray(table.T), strict=True))
        classes, sources = (list(map(of, records)) for of in (_class_of, _source_of))
        class_names = tuple(sorted(set(classes)))
        code = {name: number for number, name in enumerate(class_names)}
        outcomes = map(_OUTCOME_CODE.__getitem__, map(_outcome_of, records))
        gaps_us, gap_counts = chunks.gaps()
        return cls(
            numbers,
            np.fromiter(outcomes, np.int8, len(records)),
            np.fromiter(map(code.__getitem__, classes), np.int32, len(records)),
            class_names,
            np.array([source == "counted" for source in sources], dtype=bool),
            np.array([source == "usage" for source in sources], dtype=bool),
            gaps_us,
            gap_counts,
        )

    def __len__(self) -> int:
        return len(self.outcome)

    def select(self, rows: Bools) -> "Columns":
        """The rows where `rows` is True, with their gaps; itself where that is all."""
        if rows.all():
            return self
        return Columns(
            {name: values[rows] for name, values in self.numbers.items()},
            self.outcome[rows],
            self.class_code[rows],
            self.class_names,
            self.counted[rows],
            self.by_usage[rows],
            self.gaps_us[np.repeat(rows, self.gap_counts)],
            self.gap_counts[rows],
        )

    def take(self, order: NDArray[np.int64]) -> "Columns":
        """These rows, in this order, with their gaps."""
        starts = np.cumsum(self.gap_counts) - self.gap_counts
        taken = self.gap_counts[order]
        shift = starts[order] - (np.cumsum(taken) - taken)
        places = np.repeat(shift, taken) + np.arange(int(taken.sum()))
        return Columns(
            {name: values[order] for name, values in self.numbers.items()},
            self.outcome[order],
            self.class_code[order],
            self.class_names,
            self.counted[order],
            self.by_usage[order],
            self.gaps_us[places],
            taken,
        )

    def between(self, start: int, stop: int) -> "Columns":
        """The rows from start up to stop, as views."""
        rows = slice(start, stop)
        low = int(self.gap_counts[:start].sum())
        high = low + int(self.gap_counts[rows].sum())
        return Columns(
            {name: values[rows] for name, values in self.numbers.items()},
            self.outcome[rows],
            self.class_code[rows],
            self.class_names,
            self.counted[rows],
            self.by_usage[rows],
            self.gaps_us[low:high],
            self.gap_counts[rows],
        )

    def by_intended(self) -> "Columns":
        """In the order of the intended times; itself where that is its order."""
        intended_ns = self.numbers["intended_ns"]
        if (intended_ns[1:] >= intended_ns[:-1]).all():
            return self
        return self.take(np.argsort(intended_ns, kind="stable"))

    def of_class(self, name: str | None) -> "Columns":
        """The rows of one class; None = all."""
        if name is None:
            return self
        if name not in self.class_names:
            return self.select(np.zeros(len(self), dtype=bool))
        return self.select(self.class_code == self.class_names.index(name))

    @cached_property
    def ok(self) -> Bools:
        result: Bools = self.outcome == _OUTCOME_CODE[Outcome.SUCCESS]
        return result

    @property
    def opening_ns(self) -> Floats:
        """What each request spent on opening its connection, before its send; 0 on a kept one."""
        opening = np.nan_to_num(self.numbers["connect_ns"]) + np.nan_to_num(self.numbers["tls_ns"])
        return np.asarray(opening, dtype=np.float64)

    def latency_s(self, metric: str) -> Floats:
        """Values in seconds, one a request ("itl": one a gap), by the rules above."""
        at = self.numbers
        if metric == "itl":
            return self.gaps_us / 1e6
        if metric == "client_lag":
            return (at["sent_ns"] - at["intended_ns"] - self._others_ns()) / 1e9
        if metric == "tpot":
            return np.where(self.ok, self._tpot_s(), np.inf)
        end, start = {
            "ttft": ("first_token_ns", "intended_ns"),
            "service_ttft": ("first_token_ns", "sent_ns"),
            "ttfvt": ("first_visible_ns", "intended_ns"),
            "e2e": ("last_token_ns", "intended_ns"),
        }[metric]
        values = (at[end] - at[start] - (at["throttled_ns"] if start == "intended_ns" else 0.0)) / 1e9
        return np.where(self.ok & ~np.isnan(values), values, np.inf)

    def meets(self, slo: Slo, slos: Sequence[Slo] = (), goodput: Goodput | None = None) -> Bools:
        """Whether each unit of an objective's sample is good, in order of the intended times.

        The units are requests; gaps for itl; sent requests for client_lag; for tpot and interactivity
        requests with two tokens apart or more, and failures. Only rows of the objective's class count.
        """
        rows = self.of_class(slo.class_name).by_intended()
        if slo.metric == "error_rate":
            return rows.ok
        if slo.metric == "goodput":
            return rows.good(slos, goodput)
        values = rows.latency_s("tpot" if slo.metric == "interactivity" else slo.metric)
        good = rows._within(slo, values)
        return good if slo.metric == "itl" else good[~np.isnan(values)]

    def good(self, slos: Sequence[Slo], goodput: Goodput | None) -> Bools:
        """Requests that succeed and meet every limit: goodput's if given, else those of the objectives.

        An undefined metric is bad.
        """
        good = self.ok.copy()
        if goodput is not None:
            own = dict(goodput.by_class)
            for code, name in enumerate(self.class_names):
                elsewhere = self.class_code != code
                for metric, limit_s in own.get(name, goodput.limits_s):
                    good &= elsewhere | (self.latency_s(metric) <= limit_s)  # NaN compares False: bad
            return good
        for slo in slos:
            if not slo.per_request:
                continue
            values = self.latency_s("tpot" if slo.metric == "interactivity" else slo.metric)
            elsewhere = np.zeros(len(self), dtype=bool)
            if slo.class_name is not None:
                names = np.array(self.class_names)
                elsewhere = names[self.class_code] != slo.class_name if len(names) else elsewhere
            good &= elsewhere | self._within(slo, values)
        return good

    def tokens(self) -> dict[str, Floats]:
        """Disjoint token counts of each request; 0 where nobody said."""
        prompt, cached, completion, reasoning = (
            np.nan_to_num(self.numbers[name])
            for name in ("prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens")
        )
        return {
            "input": np.maximum(prompt - cached, 0),
            "cached_input": cached,
            "output": completion,
            "reasoning": reasoning,
        }

    def _within(self, slo: Slo, values_s: Floats) -> Bools:
        limit: Any = slo.limit
        if slo.metric == "interactivity":
            with np.errstate(divide="ignore"):
                speed = 1 / values_s
            good: Bools = speed > limit if slo.strict else speed >= limit
            return good
        if slo.limit_s_per_prompt_token:
            limit = slo.limit + slo.limit_s_per_prompt_token * np.nan_to_num(self.numbers["prompt_tokens"])
        return np.asarray(values_s < limit if slo.strict else values_s <= limit, dtype=np.bool_)

    def _others_ns(self) -> Floats:
        """Between the intended start and the send, what was not the load generator's own delay."""
        at = self.numbers
        return np.asarray(self.opening_ns + at["throttled_ns"] + at["retried_ns"], dtype=np.float64)

    def _tpot_s(self) -> Floats:
        """RequestRecord.tpot_s, over all rows."""
        at = self.numbers
        reasoning = np.nan_to_num(at["reasoning_tokens"])
        streamed = (at["reasoning_chunks"] > 0) & (2 * at["reasoning_chunks"] >= reasoning)
        first = np.where(streamed, at["first_token_ns"], at["first_visible_ns"])
        n = at["completion_tokens"] + np.where(streamed, reasoning, 0)
        span_s = (at["last_token_ns"] - first) / 1e9
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where((n >= 2) & (span_s > 0), span_s / (n - 1), np.nan)


def coded(values: Sequence[T]) -> tuple[NDArray[np.int64], tuple[T, ...]]:
    """Each value as an index into the different ones, which stand in the order of their first."""
    different = tuple(dict.fromkeys(values))
    code = {value: number for number, value in enumerate(different)}
    return np.fromiter(map(code.__getitem__, values), np.int64, len(values)), different
