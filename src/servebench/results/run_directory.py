"""The files of a run. Workers stream parts, gather_parts makes one run of them, read_run hides which it was.

manifest.json               facts of the run
parts/                      of each worker, while the run goes on (parts.py)
requests.jsonl, chunks.i32  the records and their chunk times, by id; either may be gzipped (.gz)
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from servebench.errors import UsageError
from servebench.meter.record import RequestRecord
from servebench.results.chunk_times import ChunkTimes
from servebench.results.columns import Columns
from servebench.results.files import chunk_values, lines_of, read_object, write_json
from servebench.results.parts import (
    CHUNKS,
    REQUESTS,
    index_of,
    kept_of,
    part_paths,
    read_parts,
    replace_parts,
)
from servebench.results.redaction import redact_tree

MANIFEST, SUMMARY = "manifest.json", "summary.json"
_SECRET_VARIABLES = ("XAI_API_KEY", "SERVEBENCH_API_KEY")


def default_run_dir(started: datetime, scenario: str, seed: int, *, parent: Path = Path("runs")) -> Path:
    """`runs/<UTC>-<scenario>-<seed>`; started must carry its zone."""
    stamp = started.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(scenario).stem).strip("-.") or "run"
    return parent / f"{stamp}-{safe}-{seed}"


@dataclass(frozen=True)  # no slots: cached_property needs the dict
class Run:
    """A run read back: records by id, and their chunk times at the same positions."""

    path: Path
    manifest: dict[str, Any]
    records: list[RequestRecord]
    chunks: ChunkTimes
    torn: int = 0

    def chunk_us(self, position: int) -> "np.ndarray[Any, np.dtype[np.int32]]":
        """First chunk - send, then gaps, in us, of records[position]; a view."""
        return self.chunks[position]

    @cached_property
    def columns(self) -> Columns:
        """The records as arrays, made once."""
        return Columns.of(self.records, self.chunks)


def read_run(path: Path | str) -> Run:
    """Read a run directory, gathered or still in parts. Raises UsageError: what is missing or broken."""
    from servebench.results.record_file import read_record  # as in read_manifest

    run_dir = Path(path)
    if not run_dir.is_dir():
        raise UsageError(f"{run_dir} is no run directory; give the path that the run printed")
    manifest = read_manifest(run_dir)
    parts = part_paths(run_dir)
    sources = parts or [(run_dir / REQUESTS, run_dir / CHUNKS)]
    records: list[RequestRecord] = []
    pieces: list[np.ndarray[Any, np.dtype[np.int32]]] = []
    torn = 0
    for lines_path, chunks_path in sources:
        count = len(records)
        for line in lines_of(lines_path, read_record):
            if line is None:
                torn += 1
            else:
                records.append(line[1])
        wanted = sum(record.chunks for record in records[count:])
        pieces.append(chunk_values(chunks_path, wanted))
    chunks = ChunkTimes(
        pieces[0] if len(pieces) == 1 else np.concatenate(pieces),
        np.concatenate(([0], np.cumsum([record.chunks for record in records], dtype=np.int64))),
    )
    if parts:
        records, chunks = _by_id(records, chunks)
    return Run(run_dir, manifest, records, chunks, torn)


def gather_run(run_dir: Path) -> Run:
    """gather_parts, then read_run, in half the time: each line is read once."""
    parts = part_paths(Path(run_dir))
    if not parts:
        return read_run(run_dir)
    manifest = _manifest_object(run_dir)  # of this very run: to end it, nothing may stand in the way
    found, lengths, torn = read_parts(parts, RequestRecord.from_json)
    ids, sent, chunks = (map(attrgetter(name), found) for name in ("id", "sent_ns", "chunks"))
    index = index_of(ids, sent, chunks, lengths)
    kept = kept_of(index)
    replace_parts(Path(run_dir), parts, index[kept])
    records = [found[position] for position in kept.tolist()]
    offsets = np.concatenate(([0], np.cumsum(index["chunks"][kept])))
    values = chunk_values(Path(run_dir) / CHUNKS, int(offsets[-1]))
    return Run(Path(run_dir), manifest, records, ChunkTimes(values, offsets), torn)


def read_manifest(run_dir: Path) -> dict[str, Any]:
    """manifest.json. Raises UsageError: missing, no JSON object, or a value that no run has written there."""
    from servebench.results.manifest_file import manifest_problems  # 0.03 s to import; a run only writes

    manifest = _manifest_object(run_dir)
    problems = manifest_problems(manifest)
    if problems:
        raise UsageError(*(f"{Path(run_dir) / MANIFEST}: {problem}" for problem in problems))
    return manifest


def _manifest_object(run_dir: Path) -> dict[str, Any]:
    path = Path(run_dir) / MANIFEST
    try:
        return read_object(path)
    except FileNotFoundError:
        raise UsageError(
            f"{path} is missing: {run_dir} is no run directory, or the run never started"
        ) from None


def write_manifest(run_dir: Path, manifest: Mapping[str, Any]) -> None:
    """manifest.json, whole or not at all, without secrets (key-like texts, the keys of the environment)."""
    secrets = [os.environ[name] for name in _SECRET_VARIABLES if os.environ.get(name)]
    write_json(Path(run_dir) / MANIFEST, redact_tree(dict(manifest), secrets))


def _by_id(records: list[RequestRecord], chunks: ChunkTimes) -> tuple[list[RequestRecord], ChunkTimes]:
    order = sorted(range(len(records)), key=lambda i: (records[i].id, records[i].sent_ns is None, i))
    kept = [i for n, i in enumerate(order) if n == 0 or records[i].id != records[order[n - 1]].id]
    return [records[i] for i in kept], ChunkTimes.of([chunks[i] for i in kept])
