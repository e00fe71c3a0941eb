"""Records of a worker on another host: on its own disk while the load runs, sent to the master in the end.

A worker shares the master's run directory if it sees the master's manifest there; then nothing is sent.
"""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from servebench.errors import UsageError
from servebench.results.files import read_object
from servebench.results.parts import PARTS
from servebench.results.run_directory import MANIFEST

PIECE_BYTES = 512 * 1024


def shares_run_dir(run_dir: Path, run_id: str) -> bool:
    """Whether this process sees the run directory that the master has opened."""
    try:
        return bool(read_object(run_dir / MANIFEST).get("run_id") == run_id)
    except (FileNotFoundError, UsageError):
        return False


def own_run_dir(run_id: str) -> Path:
    return Path(tempfile.mkdtemp(prefix=f"servebench-{run_id}-"))


def pieces(run_dir: Path) -> Iterator[dict[str, Any]]:
    """The files of parts/ as messages of at most PIECE_BYTES, in order."""
    for path in sorted((run_dir / PARTS).iterdir()):
        with open(path, "rb") as file:
            while data := file.read(PIECE_BYTES):
                yield {"name": path.name, "data": data}


def take_piece(run_dir: Path, piece: dict[str, Any]) -> None:
    """Append one piece on the master's side. Raises UsageError for a name that is no part's."""
    name = str(piece["name"])
    kind, _, rest = name.partition(".")
    if kind not in ("requests", "chunks") or "/" in rest or "\\" in rest:
        raise UsageError(f"a worker sent a part named {name!r}: it runs another version of servebench")
    parts = run_dir / PARTS
    parts.mkdir(exist_ok=True)
    with open(parts / name, "ab") as file:
        file.write(piece["data"])


def discard(run_dir: Path) -> None:
    """The worker's own copy, once the master has it all."""
    shutil.rmtree(run_dir, ignore_errors=True)
