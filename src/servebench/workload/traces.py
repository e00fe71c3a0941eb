"""Traces: what a real service was asked, and when. Files of two forms become one value, selected and scaled.

Azure LLM inference traces (github.com/Azure/AzurePublicDataset, CC-BY-4.0; Patel et al., ISCA 2024): CSV
with the columns TIMESTAMP (to 100 ns), ContextTokens, GeneratedTokens. Plain JSONL: {"timestamp_s": 0.25,
"input_tokens": 374, "output_tokens": 44} a line. The lengths are another model's tokens; they are replayed
as counts.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from servebench.errors import UsageError
from servebench.workload.draws import uniforms
from servebench.workload.plan import TraceArrays

Ints = NDArray[np.int64]

_NS = 1_000_000_000
_ERRORS_SHOWN = 20
_MAX_TOKENS = 2**31 - 1
_AZURE_COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
_JSONL_KEYS = ("timestamp_s", "input_tokens", "output_tokens")
_STAMP = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)?")

Row = tuple[int, int, int]  # ns since any origin, input tokens, output tokens


@dataclass(frozen=True, slots=True)
class Trace:
    """Requests in the order of their starts: int64 vectors of equal length, arrival_ns since the trace's
    start.
    """

    name: str
    arrival_ns: Ints
    input_tokens: Ints
    output_tokens: Ints
    duration_s: float

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
        shifted by a random time around the whole trace: copies in step would arrive in pairs. 1 changes
        nothing.
        """
        if not 0 < factor < float("inf"):
            raise UsageError(f"a trace's rate factor must be a number > 0, got {factor:g}")
        if factor == 1:
            return self
        whole = int(factor)
        rows, times = [], []
        span_ns = round(self.duration_s * _NS)
        for copy in range(whole + 1):
            keep = factor - whole if copy == whole else 1.0
            row = np.flatnonzero(uniforms(seed, f"trace_thinning/{copy}", 0, len(self)) < keep)
            shift_ns = int(uniforms(seed, "trace_shift", copy, 1)[0] * span_ns) if copy else 0
            rows.append(row)
            times.append((self.arrival_ns[row] + shift_ns) % span_ns)
        row, time = np.concatenate(rows), np.concatenate(times)
        if not len(row):
            raise UsageError(f"trace {self.name} at {factor:g} times its rate has no request left")
        order = np.argsort(time, kind="stable")
        return self._rows(row[order], time[order], self.duration_s)

    def arrays(self) -> TraceArrays:
        """The trace as a plan carries it to the workers."""
        return TraceArrays(
            name=self.name,
            arrival_ns=tuple(self.arrival_ns.tolist()),
            input_tokens=tuple(self.input_tokens.tolist()),
            output_tokens=tuple(self.output_tokens.tolist()),
            duration_s=self.duration_s,
        )

    def _rows(self, rows: Ints, arrival_ns: Ints, duration_s: float) -> "Trace":
        return Trace(self.name, arrival_ns, self.input_tokens[rows], self.output_tokens[rows], duration_s)


def load_trace(path: str | Path) -> Trace:
    """A trace file, CSV or JSONL by its first line. UsageError with the first 20 problems and their lines."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    return parse_trace(text, name=path.name)


def parse_trace(text: str, *, name: str) -> Trace:
    """A trace from the text of a file. Rows out of order are sorted; time 0 is the first request."""
    lines = text.splitlines()
    first = next((line for line in lines if line.strip()), "")
    rows: list[Row] = []
    problems: list[str] = []
    for number, row in _jsonl(lines) if first.lstrip().startswith("{") else _csv(lines, name):
        if isinstance(row, str):
            problems.append(f"{name}, line {number}: {row}")
        else:
            rows.append(row)
    if problems:
        more = len(problems) - _ERRORS_SHOWN
        raise UsageError(*problems[:_ERRORS_SHOWN], *([f"{name}: and {more} more"] if more > 0 else []))
    if not rows:
        raise UsageError(f"{name}: holds no request")
    table = np.array(rows, dtype=np.int64)
    table = table[np.argsort(table[:, 0], kind="stable")]
    arrival_ns = table[:, 0] - table[0, 0]
    # one mean gap past the last start, so that the rate of the whole is its count over its duration
    gap_ns = int(arrival_ns[-1]) // (len(rows) - 1) if len(rows) > 1 else 0
    duration_s = (int(arrival_ns[-1]) + max(gap_ns, 1)) / _NS
    return Trace(name, arrival_ns, table[:, 1].copy(), table[:, 2].copy(), duration_s)


def _csv(lines: list[str], name: str) -> Iterator[tuple[int, Row | str]]:
    header = [column.strip() for column in lines[0].split(",")] if lines else []
    missing = [column for column in _AZURE_COLUMNS if column not in header]
    if missing:
        raise UsageError(
            f"{name}, line 1: must be the columns {','.join(_AZURE_COLUMNS)} or a JSON object with "
            f"{', '.join(_JSONL_KEYS)}; {', '.join(missing)} is missing"
        )
    places = [header.index(column) for column in _AZURE_COLUMNS]
    days: dict[str, int] = {}
    for number, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) != len(header):
            yield number, f"has {len(cells)} columns where the header has {len(header)}"
            continue
        stamp, context, generated = (cells[place] for place in places)
        try:
            yield (
                number,
                (
                    _stamp_ns(stamp, days),
                    _tokens(context, "ContextTokens"),
                    _tokens(generated, "GeneratedTokens"),
                ),
            )
        except ValueError as error:
            yield number, str(error)


def _jsonl(lines: list[str]) -> Iterator[tuple[int, Row | str]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield number, f"not JSON: {error}"
            continue
        missing = [key for key in _JSONL_KEYS if not isinstance(row, dict) or key not in row]
        if missing:
            yield number, f"{', '.join(missing)} is missing"
            continue
        try:
            stamp, context, generated = (row[key] for key in _JSONL_KEYS)
            yield (
                number,
                (_seconds_ns(stamp), _tokens(context, "input_tokens"), _tokens(generated, "output_tokens")),
            )
        except ValueError as error:
            yield number, str(error)


def _stamp_ns(text: str, days: dict[str, int]) -> int:
    """Exact ns of a timestamp (datetime keeps only microseconds). days remembers dates, which repeat."""
    match = _STAMP.fullmatch(text)
    if match is None:
        raise ValueError(f"TIMESTAMP must look like 2023-11-16 18:15:46.6805900, got {text!r}")
    day, clock, fraction, zone = match.groups()
    zone = "+00:00" if zone in (None, "Z") else zone
    if day + zone not in days:
        days[day + zone] = round(datetime.fromisoformat(f"{day}T00:00:00{zone}").astimezone(UTC).timestamp())
    hours, minutes, seconds = (int(part) for part in clock.split(":"))
    if hours > 23 or minutes > 59 or seconds > 60:
        raise ValueError(f"TIMESTAMP has no such time of day: {text!r}")
    return (days[day + zone] + hours * 3600 + minutes * 60 + seconds) * _NS + int(
        (fraction or "0").ljust(9, "0")
    )


def _seconds_ns(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e9:
        raise ValueError(f"timestamp_s must be a number of seconds, got {value!r}")
    return round(value * _NS)


def _tokens(value: Any, column: str) -> int:
    """A count of at least 1: a request without a token cannot be sent."""
    if isinstance(value, str):
        if not value.isascii() or not value.isdigit():
            raise ValueError(f"{column} must be a whole number >= 1, got {value!r}")
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MAX_TOKENS:
        raise ValueError(f"{column} must be a whole number >= 1, got {value!r}")
    return value
