"""Files as a run needs them: written whole or not at all, read line by line, trouble in one sentence."""

import errno
import gzip
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import orjson

from servebench.errors import OperationError, UsageError
from servebench.results.chunk_times import LOST

T = TypeVar("T")


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
        raise disk_error(error, path) from error


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object that a command has written. Raises FileNotFoundError, or UsageError for anything else."""
    try:
        found = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}") from error
    except orjson.JSONDecodeError as error:
        raise UsageError(f"{path} is no JSON: {error}; put back what was written there") from error
    if not isinstance(found, dict):
        raise UsageError(f"{path} holds no JSON object; put back what was written there")
    return found


def disk_error(error: OSError, path: Path) -> OperationError:
    if error.errno == errno.ENOSPC:
        return OperationError(
            f"the disk is full: {path} could not be written; what was written before stays there"
        )
    return OperationError(f"{path} could not be written: {error.strerror}")


def lines_of(path: Path, read: Callable[[dict[str, Any]], T]) -> Iterator[tuple[bytes, T] | None]:
    """Each whole line with what `read` makes of it; None for a torn last line.

    Raises UsageError naming a broken line.
    """
    plain, packed = path, path.with_name(path.name + ".gz")
    if not plain.exists() and not packed.exists():
        raise UsageError(f"{plain} is missing: the run left no records there")
    loads = orjson.loads
    try:
        with open(plain, "rb") if plain.exists() else gzip.open(packed, "rb") as file:
            for number, raw in enumerate(file, start=1):
                if not raw.endswith(b"\n"):
                    yield None
                    return
                try:
                    yield raw, read(loads(raw))
                except (ValueError, KeyError, TypeError) as error:
                    what = f"{type(error).__name__}: {error}" if isinstance(error, KeyError) else error
                    raise UsageError(
                        f"{path} line {number} is broken ({what}); cut it out to read the rest"
                    ) from error
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"{path} can't be read: {error}") from error


def chunk_values(path: Path, wanted: int) -> "np.ndarray[Any, np.dtype[np.int32]]":
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
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"{path} can't be read: {error}") from error
    if len(found) >= wanted:
        return np.asarray(found[:wanted].astype(np.int32, copy=False))  # a memmap is slow to slice
    return np.concatenate((found, np.full(wanted - len(found), LOST, dtype=np.int32))).astype(np.int32)
