"""The mock of a run starts while Locust does: what it says is waited for, and told where it is no good."""

import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from servebench.drive.launch import begin_mock, free_port, mock_url, start_mock
from servebench.errors import OperationError, UsageError


def said(out: bytes, err: bytes) -> str:
    """What is made of a mock that says these and ends."""
    ends = []
    for text in (out, err):
        read_fd, write_fd = os.pipe()
        os.write(write_fd, text)
        os.close(write_fd)
        ends.append(read_fd)
    try:
        return mock_url(*ends)
    finally:
        for fd in ends:
            os.close(fd)


def test_the_url_is_what_the_mock_says() -> None:
    assert said(b"listening on http://127.0.0.1:4 (one tier)\n", b"") == "http://127.0.0.1:4"


def test_a_mock_that_ends_instead_is_told_in_its_own_words() -> None:
    with pytest.raises(OperationError, match="did not start: port 4 is in use"):
        said(b"", b"noise\nmock_server: port 4 is in use\n")


def test_a_begun_mock_has_its_url_at_once() -> None:
    mock = begin_mock(["--tier", "grok-4.3"], port=free_port())
    try:
        assert mock.process.stdout is not None
        assert mock.process.stderr is not None
        assert mock_url(mock.process.stdout.fileno(), mock.process.stderr.fileno()) == mock.url
        with urllib.request.urlopen(f"{mock.url}/metrics", timeout=5) as answer:
            assert b"grok-4.3" in answer.read()
    finally:
        mock.stop()


def test_a_mock_with_bad_flags_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="grok-99"):
        start_mock(["--tier", "grok-99"])


@pytest.mark.slow
def test_a_run_whose_mock_does_not_start_ends_with_its_sentence(tmp_path: Path) -> None:
    """The mock is made to fail by a module in its place: nothing else can keep it from starting here."""
    (tmp_path / "mock_server").mkdir()
    (tmp_path / "mock_server" / "__init__.py").touch()
    (tmp_path / "mock_server" / "__main__.py").write_text("raise SystemExit('mock_server: no more memory')")
    done = subprocess.run(
        [sys.executable, "-m", "servebench", "run", "chat", "--duration", "2", "--out", "r"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "the mock did not start: no more memory" in done.stderr
    assert "Traceback" not in done.stderr
