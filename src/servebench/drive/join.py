"""Nothing is waited for between Locust's fork and the first request that could be had before.

A forked worker that connects before its master listens tries again after 100 to 200 ms, ZMQ's own interval:
here it waits for the word. And a session that finds the kernel's stamping off may keep the kernel thread that
switches it on from its core, at real-time priority for most of a second: so it is asked for at the import.
"""

import os
import socket
from typing import Any, Final

from gevent.monkey import get_original

from servebench.meter.timestamps import ask_for_stamps

_LISTEN_TIMEOUT_S: Final = 1.0


class _Gate:
    """A pipe that the master closes once it listens, or by its end; each forked worker waits for that."""

    def __init__(self) -> None:
        self._ends: tuple[int, int] | None = None
        self._passed = False

    def before_fork(self) -> None:
        if self._ends is None and not self._passed:
            self._ends = os.pipe()

    def in_worker(self) -> None:
        """Runs before gevent has made the child's hub: nothing patched may be called."""
        if self._ends is None:
            return
        read_fd, write_fd = self._ends
        close = get_original("os", "close")
        close(write_fd)
        try:
            get_original("select", "select")([read_fd], [], [], _LISTEN_TIMEOUT_S)
        except KeyboardInterrupt:
            os._exit(1)  # a fork hook can't raise, and nothing has begun
        close(read_fd)
        self._ends, self._passed = None, True

    def open(self) -> None:
        self._passed = True
        if self._ends is not None:
            for fd in self._ends:
                get_original("os", "close")(fd)
            self._ends = None


_gate = _Gate()
_stamped: list[Any] = []  # a socket that keeps the kernel stamping, open for the life of the process


def hold_workers() -> None:
    """Let workers forked from now on wait, a second at most, until let_workers_join()."""
    os.register_at_fork(before=_gate.before_fork, after_in_child=_gate.in_worker)


def let_workers_join() -> None:
    """The master listens."""
    _gate.open()


def switch_stamps_on() -> None:
    """Have the kernel stamp what arrives from about now on. Does nothing where it can't."""
    try:
        sock = get_original("socket", "socket")(socket.AF_INET, socket.SOCK_DGRAM)
    except OSError:
        return
    ask_for_stamps(sock)
    _stamped.append(sock)
