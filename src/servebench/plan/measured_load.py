"""MeasuredLoad: of a run directory what a profile is fitted to: who was sent when, how long, and what it
took.

Times count from the send, so that the load generator's own delay is not the server's. A request that failed
loads the server in the simulation too where its tokens are known, and is fitted to by nobody.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servebench.errors import UsageError
from servebench.meter.record import RequestRecord
from servebench.plan.traffic import Traffic
from servebench.results.run_directory import Run
from servebench.results.summary import Summary

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

LEAST_REQUESTS = 200  # to fit to; a p95 alone needs 72 of them
LEAST_TOKENS = 8  # of an answer whose TPOT counts: shorter ones are mostly one gap's noise


@dataclass(frozen=True, slots=True)
class MeasuredLoad:
    """Rows by send time. ttft_s, tpot_s: NaN where a row has none to fit to. output_tokens: reasoning too."""

    sent_s: Floats
    prompt_tokens: Ints
    cached_tokens: Ints
    output_tokens: Ints
    ttft_s: Floats
    tpot_s: Floats
    counted: int  # rows whose tokens the client counted, for want of usage
    left_out: int  # sent, but of unknown size

    def __len__(self) -> int:
        return len(self.sent_s)

    def traffic(self, *, block_tokens: int) -> tuple[Traffic, tuple[int, ...]]:
        """As the simulation takes it, and the keys that caches must hold at the start for the measured
        hits.
        """
        longest = int(self.cached_tokens.max(initial=0)) // block_tokens
        keys = tuple(range(longest))
        blocks = (self.cached_tokens // block_tokens).tolist()
        return (
            Traffic(
                arrival_s=self.sent_s,
                prompt_tokens=self.prompt_tokens,
                output_tokens=self.output_tokens,
                block_keys=tuple(keys[:n] for n in blocks),
                block_tokens=block_tokens,
            ),
            keys,
        )

    def in_flight(self) -> Floats:
        """Requests that decode at the middle of each row's own decoding, itself among them."""
        first = self.sent_s + np.nan_to_num(self.ttft_s)
        last = first + np.nan_to_num(self.tpot_s) * np.maximum(self.output_tokens - 1, 0)
        middle = (first + last) / 2
        begun = np.searchsorted(np.sort(first), middle, side="right")
        ended = np.searchsorted(np.sort(last), middle, side="left")
        together: Floats = np.maximum(begun - ended, 1).astype(np.float64)
        return together


def measured_load(run: Run, summary: Summary) -> MeasuredLoad:
    """Raises UsageError where the run can't be fitted to, with the reason and what to do."""
    if not summary.valid:
        raise UsageError(
            f"{run.path} is INVALID ({summary.invalid_reasons[0]}): what it measured is the load generator "
            "too; calibrate to a valid run"
        )
    known = [record for record in run.records if record.sent_ns is not None and _size(record) is not None]
    unknown = sum(record.sent_ns is not None for record in run.records) - len(known)
    known.sort(key=lambda record: (record.sent_ns, record.id))
    inside = summary.window
    fitted = [record.ok and inside.start_ns <= record.intended_ns < inside.end_ns for record in known]
    load = MeasuredLoad(
        sent_s=np.array([(record.sent_ns or 0) / 1e9 for record in known]),
        prompt_tokens=np.array([max(record.prompt_tokens or 1, 1) for record in known], dtype=np.int64),
        cached_tokens=np.array([record.cached_tokens or 0 for record in known], dtype=np.int64),
        output_tokens=np.array([_size(record) for record in known], dtype=np.int64),
        ttft_s=_column([_ttft_s(record) for record in known], fitted),
        tpot_s=_column([_tpot_s(record) for record in known], fitted),
        counted=sum(record.usage_source == "counted" for record in known),
        left_out=unknown,
    )
    usable = int(np.isfinite(load.ttft_s).sum()), int(np.isfinite(load.tpot_s).sum())
    if min(usable) < LEAST_REQUESTS:
        raise UsageError(
            f"{run.path} has {usable[0]} requests with a TTFT and {usable[1]} with a TPOT to fit to, and "
            f"{LEAST_REQUESTS} are needed of each: calibrate to a longer run, with answers of "
            f"{LEAST_TOKENS} tokens or more"
        )
    return load


def _size(record: RequestRecord) -> int | None:
    """All tokens generated; None where nobody knows, or nothing came."""
    if record.prompt_tokens is None or record.completion_tokens is None:
        return None
    total = record.completion_tokens + (record.reasoning_tokens or 0)
    return total if total > 0 else None


def _ttft_s(record: RequestRecord) -> float | None:
    """None where the first chunk is a whole tool call: it comes with the last token, not the first."""
    if record.tool_calls and not record.reasoning_streamed:
        return None
    return record.service_ttft_s


def _tpot_s(record: RequestRecord) -> float | None:
    tokens = _size(record)
    if record.tool_calls or tokens is None or tokens < LEAST_TOKENS:
        return None
    return record.tpot_s


def _column(values: Sequence[float | None], fitted: Sequence[bool]) -> Floats:
    return np.array(
        [value if use and value is not None else np.nan for value, use in zip(values, fitted, strict=True)]
    )
