"""A line of requests.jsonl, checked as it is read: anyone may have edited it.

A hundred thousand lines have a few dozen combinations of types (None here, a number there); each of these is
checked once.
"""

import re
from dataclasses import MISSING, fields
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from servebench.meter.record import Outcome, RequestRecord, SessionState
from servebench.results.manifest_file import sentence

MOST_CHUNKS = 10_000_000  # of one answer
_SAID = 3  # complaints about one line
_AMOUNT = re.compile(r"-?\d{1,8}(\.\d{1,40})?")  # in ticks within 63 bits
_OUTCOMES, _STATES = frozenset(Outcome), frozenset((None, *SessionState))
_sound: set[tuple[tuple[str, ...], tuple[type, ...]]] = set()


def _row_model() -> type[BaseModel]:
    """RequestRecord as its file form has it (RequestRecord.to_json)."""
    hints = get_type_hints(RequestRecord)
    keys: dict[str, Any] = {}
    for field in fields(RequestRecord):
        kind, key = hints[field.name], field.name
        if key == "class_name":
            key = "class"
        elif key.endswith("_ns"):
            key, kind = f"{key[:-3]}_s", float if kind is int else float | None
        elif kind is Outcome:
            kind = str
        keys[key] = (kind, ... if field.default is MISSING else field.default)
    return create_model("RecordRow", __config__=ConfigDict(strict=True, extra="ignore"), **keys)


_RecordRow = _row_model()


def read_record(row: dict[str, Any]) -> RequestRecord:
    """RequestRecord.from_json. Raises ValueError, in words, for a line that no run has written."""
    if not isinstance(row, dict):
        raise ValueError("no JSON object")
    kinds = tuple(row), tuple(map(type, row.values()))
    if kinds not in _sound:
        try:
            _RecordRow.model_validate(row)
        except ValidationError as error:
            found = error.errors(include_url=False)
            more = "" if len(found) <= _SAID else f", and {len(found) - _SAID} more"
            raise ValueError(", ".join(map(sentence, found[:_SAID])) + more) from None
        if row.get("server_tools") is None:  # else what is in it has types of its own
            _sound.add(kinds)
    if row["outcome"] not in _OUTCOMES or row.get("session_state") not in _STATES:
        raise ValueError(f"no outcome {row['outcome']!r} or session state {row.get('session_state')!r}")
    if not 0 <= row.get("chunks", 0) <= MOST_CHUNKS:
        raise ValueError(f"chunks: from 0 to {MOST_CHUNKS:,}, not {row['chunks']:,}")
    for key in ("cost_usd", "retry_cost_usd"):
        text = row.get(key)
        if text is not None and not _AMOUNT.fullmatch(text):
            raise ValueError(f"{key}: no amount in USD, {text[:40]!r}")
    try:
        return RequestRecord.from_json(row)
    except OverflowError:
        raise ValueError("a time that is no number of seconds") from None
