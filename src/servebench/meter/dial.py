"""Dial: the addresses of a target, tried one after the other; each has its part of the time to connect."""

import errno
import os
import socket
import time
from typing import Any

from servebench.meter.call import Target
from servebench.meter.owner import Owner
from servebench.meter.timestamps import ask_for_stamps


def no_connection(target: Target, reason: str | int) -> str:
    """The sentence of a record. reason: an errno, or in words."""
    if isinstance(reason, int):
        full = reason in (errno.EMFILE, errno.ENFILE)
        reason = os.strerror(reason) + (" (raise the limit on open files, ulimit -n)" if full else "")
    return f"no connection to {target.authority}: {reason}"


class Dial:
    """open() at the address that worked last, and again after each failed(); answered() ends the round.

    opened_ns: when the round began. Addresses that failed are part of what connecting took.
    """

    __slots__ = ("_engine", "_place", "_tries", "opened_ns")

    def __init__(self, engine: Owner) -> None:
        self._engine = engine
        self._place = self._tries = self.opened_ns = 0

    def restart(self) -> None:
        self._tries = 0

    def open(self) -> Any:
        """A socket that is connecting, or is connected already. Raises OSError."""
        engine = self._engine
        # a neighbour may find another good address meanwhile: the round goes on from where it began
        self._place = (self._place + 1) % len(engine.addresses) if self._tries else engine.good_address
        family, address = engine.addresses[self._place]
        if not self._tries:
            self.opened_ns = time.monotonic_ns()
        sock = engine.socket_class(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if engine.stamps.kernel:
                ask_for_stamps(sock)
            code = sock.connect_ex(address)
            if code not in (0, errno.EINPROGRESS):
                raise OSError(code, os.strerror(code))
        except OSError:
            sock.close()
            raise
        return sock

    def failed(self) -> bool:
        """This address is none. Whether another is left."""
        self._tries += 1
        return self._tries < len(self._engine.addresses)

    def answered(self) -> None:
        """This address is the good one, for the neighbours too."""
        self._engine.opened += 1
        self._engine.good_address = self._place

    def overdue(self, now_ns: int) -> bool:
        """Whether the address being tried has had its part of the time, and another is left."""
        engine, tries = self._engine, self._tries + 1
        return tries < len(engine.addresses) and now_ns >= self.opened_ns + tries * engine.connect_ns
