"""Start what a run needs: the mock (a process of its own that dies with its owner) and Locust.

`run` becomes Locust (exec: same process id, terminal and signals); `demo` spawns it and waits. Nothing here
imports gevent or asyncio.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import servebench
from servebench.drive.settings import RunSettings
from servebench.errors import OperationError, UsageError

KEY_VARIABLES = ("XAI_API_KEY", "SERVEBENCH_API_KEY")  # a mock needs none
_MOCK_START_TIMEOUT_S = 30.0


def locustfile_dir() -> Path:
    """Inside an installed package, else the checkout's (editable installs)."""
    package = Path(servebench.__file__).parent
    for candidate in (package / "locustfiles", package.parents[1] / "locustfiles"):
        if (candidate / "scenario.py").is_file():
            return candidate
    raise OperationError("the locustfiles are missing from this installation: install servebench again")


@dataclass(slots=True)
class MockProcess:
    """A mock, running or about to. It exits when the last copy of owner_fd closes, also when its owner is
    killed.
    """

    url: str
    process: "subprocess.Popen[str]"
    owner_fd: int
    listens: bool = False

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
        os.close(self.owner_fd)


def begin_mock(flags: Sequence[str] = (), *, port: int = 0) -> MockProcess:
    """Start `python -m mock_server` on a loopback port, 0 = any; its url is known where the port is."""
    read_fd, owner_fd = os.pipe()
    os.set_inheritable(owner_fd, True)  # `run` becomes Locust by exec and goes on owning the mock
    command = [
        sys.executable,
        "-m",
        "mock_server",
        "--port",
        str(port),
        "--exit-with-fd",
        str(read_fd),
        *flags,
    ]
    # a session of its own: Ctrl-C on the terminal is for the load side, which still needs the mock to drain
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=(read_fd,),
        start_new_session=True,
        env={name: value for name, value in os.environ.items() if name not in KEY_VARIABLES},
    )
    os.close(read_fd)
    return MockProcess(url=f"http://127.0.0.1:{port}", process=process, owner_fd=owner_fd)


def start_mock(flags: Sequence[str] = ()) -> MockProcess:
    """The same on a free port, once it listens. Raises OperationError or UsageError."""
    mock = begin_mock(flags)
    assert mock.process.stdout is not None
    assert mock.process.stderr is not None
    try:
        mock.url = mock_url(mock.process.stdout.fileno(), mock.process.stderr.fileno())
        mock.listens = True
    except OperationError as error:
        os.close(mock.owner_fd)
        mock.process.kill()
        mock.process.communicate()
        raise (UsageError if mock.process.returncode == 2 else OperationError)(str(error)) from None
    return mock


def hand_over(mock: MockProcess) -> str:
    """Keep what the mock says open over exec; the text that tells Locust's process where it is."""
    assert mock.process.stdout is not None
    assert mock.process.stderr is not None
    fds = (mock.process.stdout.fileno(), mock.process.stderr.fileno())
    for fd in fds:
        os.set_inheritable(fd, True)
    return ",".join(map(str, fds))


def mock_url(out_fd: int, err_fd: int) -> str:
    """Wait until a mock listens. Raises OperationError with what it said instead."""
    import select

    said = b""
    until = time.monotonic() + _MOCK_START_TIMEOUT_S
    while b"\n" not in said and (left_s := until - time.monotonic()) > 0:
        if select.select([out_fd], [], [], left_s)[0]:
            more = os.read(out_fd, 4096)
            if not more:
                break
            said += more
    line = said.decode("utf-8", "replace").partition("\n")[0].strip()
    if line.startswith("listening on "):
        return line.split()[2]
    problem = f"it said {line!r}"
    if select.select([err_fd], [], [], 0.5)[0]:
        problem = (os.read(err_fd, 65536).decode("utf-8", "replace").strip().splitlines() or [problem])[-1]
    problem = problem.removeprefix("servebench: ").removeprefix("mock_server: ")
    raise OperationError(f"the mock did not start: {problem}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True, slots=True)
class Workers:
    """count 0: one process does it all. forked: children of the master; else they join from other hosts.

    port None: any free one.
    """

    count: int
    forked: bool = True
    bind_host: str = "127.0.0.1"
    port: int | None = None


def locust_command(
    settings: RunSettings, *, workers: Workers, web_port: int | None = None, mock_fds: str = ""
) -> list[str]:
    """Write the run file and give the command line that runs it. mock_fds: of hand_over."""
    run_dir = Path(settings.run_dir)
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        run_file = run_dir / "run.json"
        run_file.write_text(settings.model_dump_json(), encoding="utf-8")
    except OSError as error:
        raise OperationError(f"can't write the run directory {run_dir}: {error.strerror}") from None
    users = settings.plan.build().users or max(workers.count, 1)
    command = [
        sys.executable, "-m", "locust",
        "-f", str(locustfile_dir() / "scenario.py"),
        "--host", settings.target_url,
        "--servebench-run", str(run_file),
        "--users", str(users), "--spawn-rate", str(max(users, 1)),
        "--loglevel", "WARNING",
        *(("--servebench-mock", mock_fds) if mock_fds else ()),
    ]  # fmt: skip
    if web_port is None:
        # --json-file keeps Locust's own tables off the screen and on the disk
        command += ["--headless", "--only-summary", "--json-file", str(run_dir / "locust_stats")]
    else:
        command += ["--autostart", "--web-host", "127.0.0.1", "--web-port", str(web_port)]
    if workers.count > 0:
        port = str(workers.port or free_port())
        command += ["--master-bind-host", workers.bind_host, "--master-bind-port", port]
        if workers.forked:
            command += ["--processes", str(workers.count), "--master-port", port]
        else:
            command += ["--master", "--expect-workers", str(workers.count)]
    return command


def worker_command(*, master_host: str, master_port: int) -> list[str]:
    """A worker takes everything else from its master."""
    return [
        sys.executable, "-m", "locust",
        "-f", str(locustfile_dir() / "scenario.py"),
        "--worker", "--master-host", master_host, "--master-port", str(master_port),
        "--loglevel", "WARNING",
    ]  # fmt: skip


def become_locust(command: Sequence[str]) -> None:
    """exec: does not return."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(command[0], list(command))


def wait_for_locust(command: Sequence[str], *, silent: bool = False) -> int:
    """Spawn and wait. Ctrl-C reaches the child by the terminal, SIGTERM is passed on. silent: no stdout."""
    process = subprocess.Popen(list(command), stdout=subprocess.DEVNULL if silent else None)
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return process.wait()
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
