"""The C programs of benchmarks/native, compiled where there is a compiler; and the dumps they leave."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SOURCES = Path(__file__).resolve().parent / "native"


@contextmanager
def compiled(name: str) -> Iterator[Path | None]:
    """The program of native/<name>.c while the block lasts; None where no C compiler is."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as scratch:
        program = Path(scratch) / name
        subprocess.run([compiler, "-O2", "-o", str(program), str(_SOURCES / f"{name}.c")], check=True)
        yield program
