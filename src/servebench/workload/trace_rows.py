"""Rows of trace files: five forms, told apart by the first line, each line a row or a sentence on what is
wrong with it.

    azure     CSV TIMESTAMP,ContextTokens,GeneratedTokens (2023 and 2024; stamps to 100 ns, with or without
              a zone): github.com/Azure/AzurePublicDataset, CC-BY-4.0; Patel et al., ISCA 2024; Stojkovic et
              al., HPCA 2025
    burstgpt  CSV Timestamp (s), Request tokens, Response tokens (a 0 = failed: skipped), other columns:
              github.com/HPMLL/BurstGPT; Wang et al., 2024
    mooncake  JSONL timestamp (ms), input_length, output_length, hash_ids of 512-token blocks:
              github.com/kvcache-ai/Mooncake, Apache-2.0; Qin et al., FAST 2025
    bailian   JSONL with chat_id, timestamp (s), lengths, hash_ids of 16-token blocks:
              github.com/alibaba-edu/qwen-bailian-usagetraces-anon, Apache-2.0; Wang et al., ATC 2025
    plain     JSONL timestamp_s, input_tokens, output_tokens
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import Any, Literal

from servebench.errors import UsageError

Form = Literal["azure", "burstgpt", "mooncake", "bailian", "plain"]

_NS = 1_000_000_000
_MAX_TOKENS = 2**31 - 1
_MAX_BLOCK_ID = 2**48
_STAMP = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)?")

COLUMNS: dict[Form, tuple[str, str, str]] = {
    "azure": ("TIMESTAMP", "ContextTokens", "GeneratedTokens"),
    "burstgpt": ("Timestamp", "Request tokens", "Response tokens"),
    "mooncake": ("timestamp", "input_length", "output_length"),
    "bailian": ("timestamp", "input_length", "output_length"),
    "plain": ("timestamp_s", "input_tokens", "output_tokens"),
}
BLOCK_TOKENS: dict[Form, int] = {"mooncake": 512, "bailian": 16}
# recorded in bins or whole seconds, and so spread when read; the others are replayed to the ns they state
COARSE: frozenset[Form] = frozenset({"burstgpt", "mooncake", "bailian"})
# failures are rows without an answer, most of them without a prompt too
_SKIPS_EMPTY: frozenset[Form] = frozenset({"burstgpt", "bailian"})


@dataclass(frozen=True, slots=True)
class Row:
    """time_ns since any origin; block_ids None where the form has none."""

    time_ns: int
    input_tokens: int
    output_tokens: int
    block_ids: list[int] | None = None


class _SkipError(ValueError):
    """A row that asked for nothing that can be replayed."""


def read_rows(lines: Iterable[str], name: str) -> tuple[Form, Iterator[tuple[int, Row | str | None]]]:
    """The form of a file, and per line its number with a row, a problem, or None for a row left out."""
    numbered = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
    number, first = next(numbered, (1, ""))
    if first.lstrip().startswith("{"):
        form = _jsonl_form(first)
        return form, _rows(form, _objects(chain([(number, first)], numbered)))
    header = [column.strip() for column in first.split(",")]
    form = _csv_form(header, number, name)
    return form, _rows(form, _records(numbered, header))


def _jsonl_form(first: str) -> Form:
    try:
        keys = json.loads(first)
    except (ValueError, RecursionError):
        return "plain"
    if "input_length" not in keys:
        return "plain"
    return "bailian" if "chat_id" in keys else "mooncake"


def _objects(numbered: Iterable[tuple[int, str]]) -> Iterator[tuple[int, Any | str]]:
    for number, line in numbered:
        try:
            yield number, json.loads(line)
        except (ValueError, RecursionError) as error:
            yield number, f"not JSON: {error}"


def _csv_form(header: list[str], number: int, name: str) -> Form:
    form: Form = "burstgpt" if "Request tokens" in header else "azure"
    missing = [column for column in COLUMNS[form] if column not in header]
    if missing:
        known = "; ".join(",".join(COLUMNS[form]) for form in ("azure", "burstgpt"))
        raise UsageError(
            f"{name}, line {number}: must be the columns {known} or a JSON object with "
            f"{', '.join(COLUMNS['plain'])}; {', '.join(missing)} is missing"
        )
    return form


def _records(
    numbered: Iterable[tuple[int, str]], header: list[str]
) -> Iterator[tuple[int, Mapping[str, str] | str]]:
    for number, line in numbered:
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) != len(header):
            yield number, f"has {len(cells)} columns where the header has {len(header)}"
        else:
            yield number, dict(zip(header, cells, strict=True))


def _rows(form: Form, records: Iterator[tuple[int, Any]]) -> Iterator[tuple[int, Row | str | None]]:
    time_ns = _clock(form)
    columns = COLUMNS[form]
    for number, record in records:
        if isinstance(record, str):
            yield number, record
            continue
        missing = [key for key in columns if not isinstance(record, dict) or key not in record]
        if missing:
            yield number, f"{', '.join(missing)} is missing"
            continue
        try:
            stamp, given, made = (record[key] for key in columns)
            if form in _SKIPS_EMPTY and "0" in (str(given), str(made)):
                raise _SkipError
            yield (
                number,
                Row(
                    time_ns(stamp), _tokens(given, columns[1]), _tokens(made, columns[2]), _ids(form, record)
                ),
            )
        except _SkipError:
            yield number, None
        except ValueError as error:
            yield number, str(error)


def _clock(form: Form) -> Callable[[Any], int]:
    if form == "azure":
        days: dict[str, int] = {}
        return lambda text: _stamp_ns(text, days)
    unit, key = (1e-3 if form == "mooncake" else 1.0), COLUMNS[form][0]
    return lambda value: _number_ns(value, key, unit)


def _ids(form: Form, record: Mapping[str, Any]) -> list[int] | None:
    if form not in BLOCK_TOKENS:
        return None
    ids = record.get("hash_ids")
    if not isinstance(ids, list) or not all(type(id) is int and 0 <= id < _MAX_BLOCK_ID for id in ids):
        raise ValueError("hash_ids must be a list of whole numbers >= 0")
    return ids


def _stamp_ns(text: str, days: dict[str, int]) -> int:
    """Exact ns of a timestamp (datetime keeps only microseconds). days remembers dates, which repeat."""
    match = _STAMP.fullmatch(text)
    if match is None:
        raise ValueError(f"TIMESTAMP must look like 2023-11-16 18:15:46.6805900, got {text!r}")
    day, clock, fraction, zone = match.groups()
    if not "1700" <= day < "2200":
        raise ValueError(f"TIMESTAMP must be of the years 1700 to 2199, got {text!r}")
    zone = "+00:00" if zone in (None, "Z") else zone
    if day + zone not in days:
        days[day + zone] = round(datetime.fromisoformat(f"{day}T00:00:00{zone}").astimezone(UTC).timestamp())
    hours, minutes, seconds = (int(part) for part in clock.split(":"))
    if hours > 23 or minutes > 59 or seconds > 60:
        raise ValueError(f"TIMESTAMP has no such time of day: {text!r}")
    return (days[day + zone] + hours * 3600 + minutes * 60 + seconds) * _NS + int(
        (fraction or "0").ljust(9, "0")
    )


def _number_ns(value: Any, key: str, unit_s: float) -> int:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise ValueError(f"{key} must be a number of seconds, got {value!r}") from None
    # compared before it is multiplied: a whole number may be too large for a float
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e9 / unit_s:
        unit = "seconds" if unit_s == 1 else "milliseconds"
        raise ValueError(f"{key} must be a number of {unit}, got {value!r}")
    return round(value * round(_NS * unit_s))


def _tokens(value: Any, column: str) -> int:
    """A count of at least 1: a request without a token cannot be sent."""
    if isinstance(value, str):
        if not value.isascii() or not value.isdigit():
            raise ValueError(f"{column} must be a whole number >= 1, got {value!r}")
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MAX_TOKENS:
        raise ValueError(f"{column} must be a whole number >= 1, got {value!r}")
    return value
