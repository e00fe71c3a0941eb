"""Ready: which connections have bytes, asked of the kernel for many at once.

One epoll of its own for all sockets that are read, and one watcher of it in the hub's loop: a callback of the
loop for every chunk would take half a microsecond more. Where there is no epoll, each socket has a watcher.
"""

import select
import sys
from collections.abc import Callable
from typing import Any, Final, Protocol

from servebench.descriptors import make_room

_READ: Final = 1  # mask of the event loop
_OTHERS: Final = 128  # files that are no connections
_AT_ONCE: Final = 64  # connections between two looks at the loop's timers


class Reading(Protocol):
    """What can be read from, when told."""

    def readable(self) -> None: ...


class Ready:
    """add(fd, connection): connection.readable is called whenever the socket has bytes, until remove(fd).
    most: how many there may be at once.
    """

    def __init__(self, hub: Any, most: int) -> None:
        self._hub = hub
        self._readers: list[Reading | None] = []  # by fd: a dict's keys would be fetched from memory, too
        self._watchers: dict[int, Any] = {}
        self._epoll = select.epoll() if hasattr(select, "epoll") else None
        if self._epoll is not None:
            make_room(self._epoll.fileno(), most + _OTHERS)
            self._watcher = self._watch(self._epoll.fileno(), self._turn)

    def add(self, fd: int, connection: Reading) -> None:
        readers = self._readers
        readers += [None] * (fd + 1 - len(readers))
        readers[fd] = connection
        if self._epoll is not None:
            self._epoll.register(fd, _READ)
        else:
            self._watchers[fd] = self._watch(fd, self._one, fd)

    def remove(self, fd: int) -> None:
        """Before the socket is closed. Nothing happens if it was not added."""
        if fd >= len(self._readers) or self._readers[fd] is None:
            return
        self._readers[fd] = None
        if self._epoll is not None:
            self._epoll.unregister(fd)
        else:
            self._drop(self._watchers.pop(fd))

    def close(self) -> None:
        """Once all connections are closed."""
        if self._epoll is not None:
            self._drop(self._watcher)
            self._epoll.close()

    def _turn(self) -> None:
        readers = self._readers
        assert self._epoll is not None
        poll = self._epoll.poll
        left = _AT_ONCE
        while left > 0:
            events = poll(0, left)
            if not events:
                return
            left -= len(events)
            for fd, _ in events:
                connection = readers[fd]
                if connection is not None:  # else one before it has closed it
                    try:
                        connection.readable()
                    except Exception:  # noqa: BLE001 - must not stop the others
                        self._failed(fd, connection)

    def _one(self, fd: int) -> None:
        connection = self._readers[fd]
        if connection is not None:
            try:
                connection.readable()
            except Exception:  # noqa: BLE001 - as above
                self._failed(fd, connection)

    def _failed(self, fd: int, connection: Reading) -> None:
        """A fault of ours: it is told, and the connection will end by its timeout."""
        self.remove(fd)
        self._hub.handle_error(connection, *sys.exc_info())

    def _watch(self, fd: int, action: Callable[..., None], *given: Any) -> Any:
        watcher = self._hub.loop.io(fd, _READ)
        watcher.start(action, *given)
        return watcher

    def _drop(self, watcher: Any) -> None:
        watcher.stop()
        watcher.close()
