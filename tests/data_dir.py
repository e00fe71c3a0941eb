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
