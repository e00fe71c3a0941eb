"""Traces: what a real service was asked, and when. Files of several forms (trace_rows.py) become one value,
selected and scaled. The lengths are another model's tokens; they are replayed as counts.
"""

import dataclasses
import io
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from servebench.errors import UsageError
from servebench.workload.arrivals import MAX_ARRIVALS
from servebench.workload.draws import uniforms
from servebench.workload.plan import TraceArrays
from servebench.workload.servegen import parse_clients
from servebench.workload.text_file import read_text_file
from servebench.workload.trace_blocks import TraceBlocks
from servebench.workload.trace_rows import BLOCK_TOKENS, COARSE, read_rows

Ints = NDArray[np.int64]

_NS = 1_000_000_000
_ERRORS_SHOWN = 20
_LONGEST_S = 1e9  # its ns fit into 64 bits


@dataclass(frozen=True, slots=True)
class Trace:
    """Requests in the order of their starts: int64 vectors of equal length, arrival_ns since the trace's
    start. skipped: rows of the whole file that were left out, because they failed there.
    """

    name: str
    arrival_ns: Ints
    input_tokens: Ints
    output_tokens: Ints
    duration_s: float
    blocks: TraceBlocks | None = None
    skipped: int = 0

    def __len__(self) -> int:
        return len(self.arrival_ns)

    def select(self, *, start_s: float = 0.0, duration_s: float | None = None) -> "Trace":
        """The requests in [start_s, start_s + duration_s), its times counted from start_s."""
        if start_s < 0 or (duration_s is not None and duration_s <= 0):
            raise UsageError("a trace's start must be >= 0 s and its duration > 0 s")
        length_s = (
            self.duration_s - start_s if duration_s is None else min(duration_s, self.duration_s - start_s)
        )
        if length_s <= 0:
            raise UsageError(
                f"trace {self.name} is {self.duration_s:g} s long: it has nothing from {start_s:g} s on"
            )
        first, last = np.searchsorted(
            self.arrival_ns, [round(start_s * _NS), round((start_s + length_s) * _NS)]
        )
        if first == last:
            raise UsageError(
                f"trace {self.name} has no request from {start_s:g} s to {start_s + length_s:g} s"
            )
        return self._rows(
            np.arange(first, last), self.arrival_ns[first:last] - round(start_s * _NS), length_s
        )

    def scale(self, factor: float, *, seed: int = 0) -> "Trace":
        """The trace at `factor` times its rate, its burstiness kept as far as can be.

        Below 1 each request stays with probability factor (thinning). Above 1 copies are laid over it, each
        shifted by a random time around the whole trace: copies in step would arrive in pairs. A copy's blocks
        are its own, so that the share of shared tokens stays. 1 changes nothing.
        """
        if not 0 < factor < float("inf"):
            raise UsageError(f"a trace's rate factor must be a number > 0, got {factor:g}")
        if factor == 1:
            return self
        if factor * len(self) > MAX_ARRIVALS:
            raise UsageError(
                f"trace {self.name} at {factor:g} times its rate has {factor * len(self):.3g} requests, "
                f"more than {MAX_ARRIVALS:,}: lower the factor or the duration"
            )
        whole = int(factor)
        rows, times, copies = [], [], []
        span_ns = round(self.duration_s * _NS)
        for copy in range(whole + 1):
            keep = factor - whole if copy == whole else 1.0
            row = np.flatnonzero(uniforms(seed, f"trace_thinning/{copy}", 0, len(self)) < keep)
            shift_ns = int(uniforms(seed, "trace_shift", copy, 1)[0] * span_ns) if copy else 0
            rows.append(row)
            times.append((self.arrival_ns[row] + shift_ns) % span_ns)
            copies.append(np.full(len(row), copy, dtype=np.int64))
        row, time = np.concatenate(rows), np.concatenate(times)
        if not len(row):
            raise UsageError(f"trace {self.name} at {factor:g} times its rate has no request left")
        order = np.argsort(time, kind="stable")
        return self._rows(row[order], time[order], self.duration_s, np.concatenate(copies)[order])

    def faster(self, speed: float) -> "Trace":
        """The same requests in 1/speed of the time: for a server whose own clock runs ahead as much."""
        if not 0 < speed < float("inf"):
            raise UsageError(f"a trace's speed must be a number > 0, got {speed:g}")
        if self.duration_s / speed > _LONGEST_S:
            raise UsageError(f"a trace's speed of {speed:g} makes it last {self.duration_s / speed:.3g} s")
        if speed == 1:
            return self
        arrival_ns = np.floor(self.arrival_ns / speed).astype(np.int64)
        return dataclasses.replace(self, arrival_ns=arrival_ns, duration_s=self.duration_s / speed)

    def arrays(self) -> TraceArrays:
        """The trace as a plan carries it to the workers."""
        return TraceArrays(
            name=self.name,
            arrival_ns=tuple(self.arrival_ns.tolist()),
            input_tokens=tuple(self.input_tokens.tolist()),
            output_tokens=tuple(self.output_tokens.tolist()),
            duration_s=self.duration_s,
            block_tokens=None if self.blocks is None else self.blocks.block_tokens,
            block_ids=None if self.blocks is None else self.blocks.packed(),
            skipped=self.skipped,
        )

    def _rows(self, rows: Ints, arrival_ns: Ints, duration_s: float, copies: Ints | None = None) -> "Trace":
        blocks = None if self.blocks is None else self.blocks.rows(rows, copies=copies)
        return dataclasses.replace(
            self,
            arrival_ns=arrival_ns,
            input_tokens=self.input_tokens[rows],
            output_tokens=self.output_tokens[rows],
            duration_s=duration_s,
            blocks=blocks,
        )


def read_trace(
    path: str | Path,
    *,
    start_s: float = 0.0,
    duration_s: float | None = None,
    rate_scale: float = 1.0,
    seed: int = 0,
) -> Trace:
    """What a run replays of a file, in one step: a trace, or client profiles as FILE.json#CATEGORY.

    Client profiles (servegen.py) are drawn for the seconds that are wanted: their whole would not fit.
    """
    file, _, category = str(path).partition("#")
    if category or file.endswith(".json"):
        clients = parse_clients(read_text_file(Path(file)), name=Path(file).name, category=category)
        drawn = clients.draw(start_s=start_s, duration_s=duration_s, rate_scale=rate_scale, seed=seed)
        return Trace(clients.name, *drawn)
    rows = load_trace(file, seed=seed).select(start_s=start_s, duration_s=duration_s)
    return rows.scale(rate_scale, seed=seed)


def load_trace(path: str | Path, *, seed: int = 0) -> Trace:
    """A trace file, its form told by its first line. UsageError with the first 20 problems and their lines.

    seed: of the spreading of arrivals that were recorded in bins.
    """
    path = Path(path)
    try:
        with path.open(encoding="utf-8-sig") as lines:
            return _parse(lines, name=path.name, seed=seed)
    except UnicodeDecodeError:
        raise UsageError(f"{path}: is not UTF-8 text") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None


def parse_trace(text: str, *, name: str, seed: int = 0) -> Trace:
    """A trace from the text of a file. Rows out of order are sorted; time 0 is the first request."""
    return _parse(io.StringIO(text, newline=None), name=name, seed=seed)


def _parse(lines: Iterable[str], *, name: str, seed: int) -> Trace:
    """Line by line into arrays of 8 bytes a number: a week of traffic is tens of millions of rows."""
    times, inputs, outputs = array("q"), array("q"), array("q")
    ids: list[list[int]] = []
    problems: list[str] = []
    wrong = skipped = 0
    form, read = read_rows(lines, name)
    for number, row in read:
        if row is None:
            skipped += 1
        elif isinstance(row, str):
            wrong += 1
            if wrong <= _ERRORS_SHOWN:
                problems.append(f"{name}, line {number}: {row}")
        else:
            times.append(row.time_ns)
            inputs.append(row.input_tokens)
            outputs.append(row.output_tokens)
            if row.block_ids is not None:
                ids.append(row.block_ids)
    if problems:
        more = wrong - len(problems)
        raise UsageError(*problems, *([f"{name}: and {more} more"] if more else []))
    if not times:
        raise UsageError(f"{name}: holds no request")
    order = np.argsort(np.frombuffer(times, dtype=np.int64), kind="stable")
    starts, input_tokens, output_tokens = (
        np.frombuffer(vector, dtype=np.int64)[order] for vector in (times, inputs, outputs)
    )
    arrival_ns = starts - starts[0]
    if form in COARSE:
        arrival_ns = spread(arrival_ns, seed=seed)
    blocks = None
    if form in BLOCK_TOKENS:
        rows = [ids[k] for k in order.tolist()]
        blocks = TraceBlocks.numbered(rows, block_tokens=BLOCK_TOKENS[form], input_tokens=input_tokens)
    # one mean gap past the last start, so that the rate of the whole is its count over its duration
    gap_ns = int(arrival_ns[-1]) // (len(order) - 1) if len(order) > 1 else 0
    return Trace(
        name=name,
        arrival_ns=arrival_ns,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        duration_s=(int(arrival_ns[-1]) + max(gap_ns, 1)) / _NS,
        blocks=blocks,
        skipped=skipped,
    )


def spread(arrival_ns: Ints, *, seed: int) -> Ints:
    """Arrivals recorded in bins, evenly at random inside their bins; others as they are. Order is kept.

    Mooncake's conversations stand at every third second, ten at a time: replayed so, each bin would be a
    burst that never was. A bin is as wide as the median distance of two, where rows outnumber their times
    two to one; a second, where all times are whole seconds and some occur twice.
    """
    times, counts = np.unique(arrival_ns, return_counts=True)
    gaps_ns = np.diff(times)
    if len(times) < 2 or counts.max() == 1:
        return arrival_ns
    if len(arrival_ns) >= 2 * len(times):
        width_ns = int(np.median(gaps_ns))
    elif not np.any(times % _NS):
        width_ns = _NS
    else:
        return arrival_ns
    widths = np.repeat(np.minimum(np.append(gaps_ns, width_ns), width_ns), counts)
    inside = (uniforms(seed, "trace_spread", 0, len(arrival_ns)) * widths).astype(np.int64)
    spread_ns: Ints = arrival_ns + inside
    spread_ns.sort()  # bins don't overlap: rows stay in their bins, in their order
    return spread_ns
