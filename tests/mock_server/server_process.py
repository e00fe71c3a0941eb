"""A mock in a process of its own, for tests: `with running_mock("--tier", "grok-4.3") as url: ...`."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def mock_process(*flags: str) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """(URL, process) of a mock on a free port; killed at exit, and ends by itself if this process dies."""
    read_fd, write_fd = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "mock_server", "--port", "0", "--exit-with-fd", str(read_fd), *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=(read_fd,),
    )
    os.close(read_fd)
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        line = process.stdout.readline()
        if not line.startswith("listening on "):
            raise RuntimeError(f"the mock did not start: {line}{process.stderr.read()}")
        yield line.removeprefix("listening on ").strip(), process
    finally:
        os.close(write_fd)
        process.kill()
        process.wait(10)
        process.stdout.close()
        process.stderr.close()


@contextmanager
def running_mock(*flags: str) -> Iterator[str]:
    """The URL of a mock with these flags, alive within the block."""
    with mock_process(*flags) as (url, _):
        yield url
