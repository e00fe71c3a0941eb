"""Parts: what each worker has on disk, one record as soon as it ended, and how they become one run.

    parts/requests.<part>.jsonl one RequestRecord a line, in the order they ended
    parts/chunks.<part>.i32     their chunk times, little-endian int32 us, in the same order

A record's chunk times are written before its line, so a line that is whole has its times. What a kill leaves
behind (a torn last line, times without a line) is dropped by the readers; everything before it stands.
"""

import mmap
import os
import shutil
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import orjson

from servebench.errors import OperationError
from servebench.meter.record import RequestRecord
from servebench.results.files import chunk_values, disk_error, lines_of

T = TypeVar("T")
REQUESTS, CHUNKS, PARTS = "requests.jsonl", "chunks.i32", "parts"
_place = itemgetter("id", "sent_s", "chunks")  # all that the merge needs of a record
_BLOCK = 1_000  # records that are merged at once: a megabyte stays in the cache
_INDEX = np.dtype(
    [("id", np.int64), ("unsent", np.int8), ("part", np.int32), ("line", np.int64), ("length", np.int32),
     ("chunk", np.int64), ("chunks", np.int64)]
)  # fmt: skip


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
            raise disk_error(error, parts) from error
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
            trouble = disk_error(error, self._lines_path)
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
    parts = part_paths(run_dir)
    if not parts:
        return Gathered(0, 0, 0, 0)
    places, lengths, torn = read_parts(parts, _place)
    ids, sent, chunks = (map(itemgetter(number), places) for number in range(3))
    index = index_of(ids, sent, chunks, lengths)
    kept = kept_of(index)
    replace_parts(run_dir, parts, index[kept])
    return Gathered(len(parts), len(kept), torn, len(index) - len(kept))


def part_paths(run_dir: Path) -> list[tuple[Path, Path]]:
    found = []
    for path in (run_dir / PARTS).glob("requests.*.jsonl"):
        number = path.name.split(".")[1]
        if number.isdigit():
            found.append((int(number), path))
    return [(path, path.with_name(f"chunks.{number}.i32")) for number, path in sorted(found)]


def read_parts(
    parts: list[tuple[Path, Path]], read: Callable[[dict[str, Any]], T]
) -> tuple[list[T], list[list[int]], int]:
    """What `read` makes of every row, part by part; each part's lengths of lines; and the torn lines."""
    found: list[T] = []
    lengths: list[list[int]] = []
    torn = 0
    for lines_path, _ in parts:
        own: list[int] = []
        for line in lines_of(lines_path, read):
            if line is None:
                torn += 1
                continue
            own.append(len(line[0]))
            found.append(line[1])
        lengths.append(own)
    return found, lengths, torn


def index_of(
    ids: Iterable[int], sent: Iterable[object], chunks: Iterable[int], lengths: Sequence[Sequence[int]]
) -> "np.ndarray[Any, Any]":
    """Where every record and its times stand, part by part. Of each: its id, its send (None = unsent) and its
    chunks. lengths: as of read_parts.
    """
    index = np.zeros(sum(map(len, lengths)), dtype=_INDEX)
    index["id"] = np.fromiter(ids, np.int64, len(index))
    index["unsent"] = np.fromiter((at is None for at in sent), np.int8, len(index))
    index["chunks"] = np.fromiter(chunks, np.int64, len(index))
    start = 0
    for number, own in enumerate(lengths):
        part = index[start : start + len(own)]
        part["part"] = number
        part["length"] = own
        for at, size in (("line", "length"), ("chunk", "chunks")):
            part[at] = np.cumsum(part[size], dtype=np.int64) - part[size]
        start += len(own)
    return index


def kept_of(index: "np.ndarray[Any, Any]") -> "np.ndarray[Any, np.dtype[np.int64]]":
    """Positions of the records to keep, by id; of two with one id the one that was sent."""
    order = np.lexsort((index["part"], index["unsent"], index["id"]))
    ids = index["id"][order]
    first = np.ones(len(ids), dtype=bool)
    first[1:] = ids[1:] != ids[:-1]
    kept: np.ndarray[Any, np.dtype[np.int64]] = order[first]
    return kept


def replace_parts(run_dir: Path, parts: list[tuple[Path, Path]], index: "np.ndarray[Any, Any]") -> None:
    """The merged files instead of parts/. Raises OperationError on disk trouble."""
    try:
        _merge(run_dir, parts, index)
        done = run_dir / "parts.gathered"
        os.rename(run_dir / PARTS, done)  # at once: readers see either all parts or the merged files
        shutil.rmtree(done)
    except OSError as error:
        raise disk_error(error, run_dir) from error


def _merge(run_dir: Path, parts: list[tuple[Path, Path]], index: "np.ndarray[Any, Any]") -> None:
    totals = [int(index["chunk"][index["part"] == n].max(initial=0)) for n in range(len(parts))]
    times = [
        chunk_values(chunks_path, total + int(index["chunks"].max(initial=0))).astype("<i4", copy=False)
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


def _write_all(file: Any, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[file.write(view) :]


def _little_endian(chunk_us: "array[int]") -> bytes:
    return np.asarray(chunk_us, dtype="<i4").tobytes()
