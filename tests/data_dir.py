"""Where the real recordings and traces are, for the tests that want them."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def find_data(*parts: str) -> Path:
    """What is at that path in $SERVEBENCH_DATA, else in ../shared/data; skips the test where it is absent."""
    root = Path(os.environ.get("SERVEBENCH_DATA") or ROOT.parent / "shared" / "data")
    path = root.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"no {'/'.join(parts) or 'data'} in {root}: set SERVEBENCH_DATA", allow_module_level=True)
    return path


def find_trace(name: str, url: str, *, data: str | None = None) -> Path:
    """The trace file of that name in the folder $SERVEBENCH_TRACES, else find_data(data / name); skips the
    test where it is absent, and says whence it can be had.
    """
    folder = os.environ.get("SERVEBENCH_TRACES")
    if folder and (path := Path(folder) / name).is_file():
        return path
    if data is not None:
        return find_data(data, name)
    where = f"not in {folder}" if folder else "the folder SERVEBENCH_TRACES is not set"
    pytest.skip(f"no {name}, {where}: it is at {url}")
