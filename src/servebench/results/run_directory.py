"""The files of a run. Workers stream parts, gather_parts makes one run of them, read_run hides which it was.

    manifest.json               facts of the run
    parts/requests.<part>.jsonl one RequestRecord a line, in the order they ended
    parts/chunks.<part>.i32     their chunk times, little-endian int32 us, in the same order
    requests.jsonl, chunks.i32  the same of all parts, by id; either may be gzipped (.gz)

A record's chunk times are written before its line, so a line that is whole has its times. What a kill leaves
behind (a torn last line, times without a line) is dropped by the readers; everything before it stands.
"""

import errno
import gzip
import mmap
import os
import re
import shutil
from array import array
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import orjson

from servebench.errors import OperationError, UsageError
from servebench.meter.record import RequestRecord
from servebench.results.chunk_times import LOST, ChunkTimes
from servebench.results.columns import Columns
from servebench.results.redaction import redact_tree

T = TypeVar("T")
MANIFEST, REQUESTS, CHUNKS, SUMMARY, PARTS = (
    "manifest.json",
    "requests.jsonl",
    "chunks.i32",
    "summary.json",
    "parts",
)
_SECRET_VARIABLES = ("XAI_API_KEY", "SERVEBENCH_API_KEY")


def default_run_dir(started: datetime, scenario: str, seed: int, *, parent: Path = Path("runs")) -> Path:
    """`runs/<UTC>-<scenario>-<seed>`; started must carry its zone."""
    stamp = started.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(scenario).stem).strip("-.") or "run"
    return parent / f"{stamp}-{safe}-{seed}"


class PartWriter:
    """One worker's records, on disk as soon as write() returns. Raises OperationError when the disk is full.

    What was written stays readable after an error; later writes are tried again while the files keep step.
    """

    def __init__(self, run_dir: Path, part: int) -> None:
        parts = Path(run_dir) / PARTS
        self.part = part
        self._lines_path = parts / f"requests.{part}.jsonl"
        try:
            parts.mkdir(parents=True, exist_ok=True)
            # unbuffered: a killed process loses nothing, at two system calls a finished request
            self._lines = open(self._lines_path, "xb", buffering=0)  # noqa: SIM115 - closed by close()
            self._chunks = open(parts / f"chunks.{part}.i32", "xb", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise _disk_error(error, parts) from error
        self._ends = (0, 0)
        self._out_of_step: OperationError | None = None

    def write(self, record: RequestRecord, chunk_us: "array[int]") -> None:
        """Append one finished request. chunk_us: int32 microseconds, record.chunks of them."""
        if len(chunk_us) != record.chunks:
            raise ValueError(
                f"request {record.id} has {record.chunks} chunks but {len(chunk_us)} chunk times"
            )
        if self._out_of_step is not None:
            raise self._out_of_step
        line = orjson.dumps(record.to_json()) + b"\n"
        try:
            _write_all(self._chunks, _little_endian(chunk_us))
            _write_all(self._lines, line)
        except OSError as error:
            trouble = _disk_error(error, self._lines_path)
            self._back_to(self._ends, trouble)
            raise trouble from error
        self._ends = (self._ends[0] + len(line), self._ends[1] + 4 * len(chunk_us))

    def close(self) -> None:
        self._lines.close()
        self._chunks.close()

    def _back_to(self, ends: tuple[int, int], trouble: OperationError) -> None:
        """Undo half a write, so that the two files keep step; if even that fails, nothing more is written."""
        try:
            for file, end in zip((self._lines, self._chunks), ends, strict=True):
                file.truncate(end)
                file.seek(end)
        except OSError:
            self._out_of_step = trouble


@dataclass(frozen=True, slots=True)
class Gathered:
    """What gather_parts found: records kept, torn last lines dropped, second records of one id dropped."""

    parts: int
    records: int
    torn: int
    duplicates: int


def gather_parts(run_dir: Path) -> Gathered:
    """Merge parts/ into requests.jsonl and chunks.i32 by id, then remove parts/. Repeatable after a kill.

    Holds an index in memory, not the records. Raises UsageError naming a broken line, or OperationError.
    """
    run_dir = Path(run_dir)
    parts = _part_paths(run_dir)
    if not parts:
        return Gathered(0, 0, 0, 0)
    index, torn = _index(parts, lambda row: row)
    kept = _kept(index)
    _replace_parts(run_dir, parts, index[kept])
    return Gathered(len(parts), len(kept), torn, len(index) - len(kept))


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
    run_dir = Path(path)
    if not run_dir.is_dir():
        raise UsageError(f"{run_dir} is no run directory; give the path that the run printed")
    manifest = read_manifest(run_dir)
    parts = _part_paths(run_dir)
    sources = parts or [(run_dir / REQUESTS, run_dir / CHUNKS)]
    records: list[RequestRecord] = []
    pieces: list[np.ndarray[Any, np.dtype[np.int32]]] = []
    torn = 0
    for lines_path, chunks_path in sources:
        count = len(records)
        for line in _lines(lines_path, RequestRecord.from_json):
            if line is None:
                torn += 1
            else:
                records.append(line[1])
        wanted = sum(record.chunks for record in records[count:])
        pieces.append(_chunk_values(chunks_path, wanted))
    chunks = ChunkTimes(
        pieces[0] if len(pieces) == 1 else np.concatenate(pieces),
        np.concatenate(([0], np.cumsum([record.chunks for record in records], dtype=np.int64))),
    )
    if parts:
        records, chunks = _by_id(records, chunks)
    return Run(run_dir, manifest, records, chunks, torn)


def gather_run(run_dir: Path) -> Run:
    """gather_parts, then read_run, in half the time: each line is read once."""
    parts = _part_paths(Path(run_dir))
    if not parts:
        return read_run(run_dir)
    manifest = read_manifest(run_dir)
    found: list[RequestRecord] = []

    def read(row: dict[str, Any]) -> dict[str, Any]:
        found.append(RequestRecord.from_json(row))
        return row

    index, torn = _index(parts, read)
    kept = _kept(index)
    _replace_parts(Path(run_dir), parts, index[kept])
    records = [found[position] for position in kept.tolist()]
    offsets = np.concatenate(([0], np.cumsum(index["chunks"][kept])))
    values = _chunk_values(Path(run_dir) / CHUNKS, int(offsets[-1]))
    return Run(Path(run_dir), manifest, records, ChunkTimes(values, offsets), torn)


def read_manifest(run_dir: Path) -> dict[str, Any]:
    """manifest.json as it stands. Raises UsageError when it is missing or no JSON object."""
    path = Path(run_dir) / MANIFEST
    try:
        manifest = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        raise UsageError(
            f"{path} is missing: {run_dir} is no run directory, or the run never started"
        ) from None
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}") from error
    except orjson.JSONDecodeError as error:
        raise UsageError(f"{path} is no JSON: {error}") from error
    if not isinstance(manifest, dict):
        raise UsageError(f"{path} holds no JSON object")
    return manifest


def write_manifest(run_dir: Path, manifest: Mapping[str, Any]) -> None:
    """manifest.json, whole or not at all, without secrets (key-like texts, the keys of the environment)."""
    secrets = [os.environ[name] for name in _SECRET_VARIABLES if os.environ.get(name)]
    write_json(Path(run_dir) / MANIFEST, redact_tree(dict(manifest), secrets))


def write_json(path: Path, value: Any) -> None:
    """Indented JSON, replacing the file in one step. Raises OperationError on disk trouble."""
    write_bytes(path, orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n")


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file in one step; write into what is no plain file (a link, a pipe, /dev/stdout).

    Raises OperationError on disk trouble.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            path.write_bytes(content)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        os.replace(part, path)
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise _disk_error(error, path) from error


# --- the parts ---------------------------------------------------------------------------------------

_place = itemgetter("id", "sent_s", "chunks")  # all that the merge needs of a record
_BLOCK = 10_000  # records that are merged at once
_INDEX = np.dtype(
    [("id", np.int64), ("unsent", np.int8), ("part", np.int32), ("line", np.int64), ("length", np.int32),
     ("chunk", np.int64), ("chunks", np.int64)]
)  # fmt: skip


def _part_paths(run_dir: Path) -> list[tuple[Path, Path]]:
    found = []
    for path in (run_dir / PARTS).glob("requests.*.jsonl"):
        number = path.name.split(".")[1]
        if number.isdigit():
            found.append((int(number), path))
    return [(path, path.with_name(f"chunks.{number}.i32")) for number, path in sorted(found)]


def _index(
    parts: list[tuple[Path, Path]], read: Callable[[dict[str, Any]], dict[str, Any]]
) -> tuple["np.ndarray[Any, Any]", int]:
    """Where every record and its times stand, part by part, and the torn lines. read: sees each row."""
    rows: list[tuple[int, bool, int, int, int, int, int]] = []
    torn = 0
    for number, (lines_path, _) in enumerate(parts):
        line_at = chunk_at = 0
        for line in _lines(lines_path, lambda row: _place(read(row))):
            if line is None:
                torn += 1
                continue
            raw, (request_id, sent, chunks) = line
            rows.append((request_id, sent is None, number, line_at, len(raw), chunk_at, chunks))
            line_at += len(raw)
            chunk_at += chunks
    return np.array(rows, dtype=_INDEX), torn


def _kept(index: "np.ndarray[Any, Any]") -> "np.ndarray[Any, np.dtype[np.int64]]":
    """Positions of the records to keep, by id; of two with one id the one that was sent."""
    order = np.lexsort((index["part"], index["unsent"], index["id"]))
    ids = index["id"][order]
    first = np.ones(len(ids), dtype=bool)
    first[1:] = ids[1:] != ids[:-1]
    kept: np.ndarray[Any, np.dtype[np.int64]] = order[first]
    return kept


def _replace_parts(run_dir: Path, parts: list[tuple[Path, Path]], index: "np.ndarray[Any, Any]") -> None:
    """The merged files instead of parts/. Raises OperationError on disk trouble."""
    try:
        _merge(run_dir, parts, index)
        done = run_dir / "parts.gathered"
        os.rename(run_dir / PARTS, done)  # at once: readers see either all parts or the merged files
        shutil.rmtree(done)
    except OSError as error:
        raise _disk_error(error, run_dir) from error


def _merge(run_dir: Path, parts: list[tuple[Path, Path]], index: "np.ndarray[Any, Any]") -> None:
    totals = [int(index["chunk"][index["part"] == n].max(initial=0)) for n in range(len(parts))]
    times = [
        _chunk_values(chunks_path, total + int(index["chunks"].max(initial=0))).astype("<i4", copy=False)
        for (_, chunks_path), total in zip(parts, totals, strict=True)
    ]
    lines = [_mapped(path) for path, _ in parts]
    part_requests, part_chunks = run_dir / f".{REQUESTS}.part", run_dir / f".{CHUNKS}.part"
    with open(part_requests, "wb") as requests_file, open(part_chunks, "wb") as chunks_file:
        for start in range(0, len(index), _BLOCK):
            rows = index[start : start + _BLOCK].tolist()
            requests_file.write(b"".join([lines[row[2]][row[3] : row[3] + row[4]] for row in rows]))
            chunks_file.write(b"".join([times[row[2]][row[5] : row[5] + row[6]] for row in rows]))
    os.replace(part_chunks, run_dir / CHUNKS)
    os.replace(part_requests, run_dir / REQUESTS)


def _mapped(path: Path) -> "mmap.mmap | bytes":
    """The file's bytes, not read before they are asked for."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""


def _by_id(records: list[RequestRecord], chunks: ChunkTimes) -> tuple[list[RequestRecord], ChunkTimes]:
    order = sorted(range(len(records)), key=lambda i: (records[i].id, records[i].sent_ns is None, i))
    kept = [i for n, i in enumerate(order) if n == 0 or records[i].id != records[order[n - 1]].id]
    return [records[i] for i in kept], ChunkTimes.of([chunks[i] for i in kept])


# --- reading and writing -----------------------------------------------------------------------------


def _lines(path: Path, read: Callable[[dict[str, Any]], T]) -> Iterator[tuple[bytes, T] | None]:
    """Each whole line with what `read` makes of it; None for a torn last line.

    Raises UsageError naming a broken line.
    """
    plain, packed = path, path.with_name(path.name + ".gz")
    if not plain.exists() and not packed.exists():
        raise UsageError(f"{plain} is missing: the run left no records there")
    try:
        with open(plain, "rb") if plain.exists() else gzip.open(packed, "rb") as file:
            for number, raw in enumerate(file, start=1):
                if not raw.endswith(b"\n"):
                    yield None
                    return
                try:
                    yield raw, read(orjson.loads(raw))
                except (ValueError, KeyError, TypeError) as error:
                    what = f"{type(error).__name__}: {error}"
                    raise UsageError(
                        f"{path} line {number} is broken ({what}); cut it out to read the rest"
                    ) from error
    except (OSError, EOFError) as error:
        raise UsageError(f"{path} can't be read: {error}") from error


def _chunk_values(path: Path, wanted: int) -> "np.ndarray[Any, np.dtype[np.int32]]":
    """The first `wanted` times of a file; what is not there is LOST."""
    packed = path.with_name(path.name + ".gz")
    try:
        if path.exists():
            whole = path.stat().st_size // 4
            found = np.memmap(path, dtype="<i4", mode="r", shape=(whole,)) if whole else np.empty(0, "<i4")
        elif packed.exists():
            raw = gzip.decompress(packed.read_bytes())
            found = np.frombuffer(raw[: len(raw) // 4 * 4], dtype="<i4")
        else:
            found = np.empty(0, "<i4")
    except (OSError, EOFError) as error:
        raise UsageError(f"{path} can't be read: {error}") from error
    if len(found) >= wanted:
        return np.asarray(found[:wanted].astype(np.int32, copy=False))  # a memmap is slow to slice
    return np.concatenate((found, np.full(wanted - len(found), LOST, dtype=np.int32))).astype(np.int32)


def _write_all(file: Any, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[file.write(view) :]


def _little_endian(chunk_us: "array[int]") -> bytes:
    return np.asarray(chunk_us, dtype="<i4").tobytes()


def _disk_error(error: OSError, path: Path) -> OperationError:
    if error.errno == errno.ENOSPC:
        return OperationError(
            f"the disk is full: {path} could not be written; what was written before stays there"
        )
    return OperationError(f"{path} could not be written: {error.strerror}")
