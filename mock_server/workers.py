"""Workers: the processes of one mock, forked from here, each with its share of the replicas and the one port.

The kernel spreads new connections over them (SO_REUSEPORT). This process serves nothing: it waits, and ends
all of them when it is told to, when its owner goes, or when one of them dies.
"""

import multiprocessing
import os
import secrets
import select
import signal
import socket
import sys
import traceback
from collections.abc import Sequence

from mock_server.choices import STOP_GRACE_S
from mock_server.fault_rules import MockConfig
from mock_server.faults import make_table as make_seen_table
from mock_server.gate import SharedTables
from mock_server.model import Model
from mock_server.peers import mesh
from mock_server.rate_limits import make_table as make_bucket_table
from mock_server.serve import Part, ServeOptions, announce, listen, serve_part
from mock_server.share import shares
from servebench.errors import OperationError


def serve_workers(options: ServeOptions, models: Sequence[Model], config: MockConfig) -> None:
    """Until told to stop. Raises OperationError: it can't listen, or a worker died."""
    sockets = _listen_all(options)
    make_lock = multiprocessing.get_context("fork").Lock
    shared = SharedTables(make_bucket_table(make_lock), make_seen_table(make_lock))
    peers, secret = mesh(options.workers), secrets.token_hex(16)
    alive_fd, owner_fd = os.pipe()  # closes when this process ends, however it does
    parts = [
        Part(options, models, config, sock, alive_fd, shared, share, secret, sides)
        for sock, share, sides in zip(sockets, shares(models, options.workers), peers, strict=True)
    ]
    processes = [_fork(part, parts, owner_fd) for part in parts]
    os.close(alive_fd)
    announce(options.host, sockets[0])
    for part in parts:
        part.sock.close()
        for side in part.peers.values():
            side.close()
    _watch(processes, options.exit_fd)


def _listen_all(options: ServeOptions) -> list[socket.socket]:
    """A socket for each worker at one address, which must be nobody else's."""
    listen(options.host, options.port).close() if options.port else None
    first = listen(options.host, options.port, shared=True)
    port = first.getsockname()[1]
    others = [listen(options.host, port, shared=True) for _ in range(options.workers - 1)]
    return [first, *others]


def _fork(own: Part, parts: Sequence[Part], owner_fd: int) -> int:
    """The child's process id; the child itself serves and never returns."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.close(owner_fd)
        for part in parts:
            if part is not own:
                part.sock.close()
                for side in part.peers.values():
                    side.close()
        serve_part(own)
        code = 0
    except BaseException:  # noqa: BLE001  the end of a process: nobody is above
        traceback.print_exc()
    finally:
        os._exit(code)


def _watch(processes: Sequence[int], exit_fd: int | None) -> None:
    """Until a signal, the owner's end or a worker's; then all end. OperationError where a worker died."""
    told = _signals()
    handles = {os.pidfd_open(process): process for process in processes}
    watched = [*handles, told, *([] if exit_fd is None else [exit_fd])]
    try:
        while True:
            ready = select.select(watched, [], [])[0]
            if exit_fd not in ready or os.read(exit_fd, 4096) == b"" or len(ready) > 1:
                break
    finally:
        died = _end_all(handles)
    if died:
        raise OperationError(f"a worker ended by itself: process {died[0]}")


def _signals() -> int:
    """A descriptor that is readable once this process was told to stop."""
    read_fd, write_fd = os.pipe()
    os.set_blocking(write_fd, False)
    signal.set_wakeup_fd(write_fd)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    return read_fd


def _end_all(handles: dict[int, int]) -> list[int]:
    """Stops the workers and waits for them; those that ended otherwise than by being told."""
    died = []
    for process in handles.values():
        os.kill(process, signal.SIGTERM)
    for handle, process in handles.items():
        late = not select.select([handle], [], [], STOP_GRACE_S + 2)[0]
        if late:
            os.kill(process, signal.SIGKILL)
        if os.waitpid(process, 0)[1] != 0 and not late:
            died.append(process)
        os.close(handle)
    return died
