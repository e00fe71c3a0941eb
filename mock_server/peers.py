"""Peers: the other workers of a mock. Calls with an answer, and connections that are handed over.

Every pair of workers has a socket pair of datagrams in order; a message's value travels as a pickle in a
memory file beside it, so that messages are small and whole whatever they carry.
"""

import asyncio
import itertools
import os
import pickle
import socket
import struct
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

_HEADER = struct.Struct("<cQ")  # kind, number of the call
_CALL, _ANSWER, _CONNECTION = b"c", b"a", b"h"
_MOST_FDS = 2

Answer = Callable[[Any], Any]
Adopt = Callable[[socket.socket, bytes], Awaitable[None]]


def mesh(workers: int) -> list[dict[int, socket.socket]]:
    """By worker, its sockets to each other one."""
    ends: list[dict[int, socket.socket]] = [{} for _ in range(workers)]
    for first, second in itertools.combinations(range(workers), 2):
        ends[first][second], ends[second][first] = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return ends


class Peers:
    """For one event loop. answers: what this worker says to a call, by name. adopt: takes a connection."""

    def __init__(
        self,
        index: int,
        sockets: Mapping[int, socket.socket],
        loop: asyncio.AbstractEventLoop,
        *,
        answers: Mapping[str, Answer],
        adopt: Adopt,
    ) -> None:
        self.index = index
        self._sockets = sockets
        self._loop = loop
        self._answers = answers
        self._adopt = adopt
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._unsent: dict[int, deque[tuple[bytes, list[int]]]] = {worker: deque() for worker in sockets}
        self._adopting: set[asyncio.Future[None]] = set()
        for worker, sock in sockets.items():
            sock.setblocking(False)
            loop.add_reader(sock.fileno(), self._read, worker)

    async def ask(self, worker: int, name: str, value: Any = None) -> Any:
        """Raises ConnectionError where that worker is gone."""
        number = next(self._numbers)
        future = self._waiting[number] = self._loop.create_future()
        try:
            self._send(worker, _CALL, number, [_memory_file((name, value))])
            return await future
        finally:
            del self._waiting[number]

    async def ask_all(self, name: str, value: Any = None) -> list[Any]:
        """The answers of all workers, this one's first."""
        own = self._answers[name](value)
        return [own, *await asyncio.gather(*[self.ask(worker, name, value) for worker in self._sockets])]

    def hand_over(self, worker: int, connection_fd: int, request: bytes) -> None:
        """Gives a connection away with a request that was read from it. The caller keeps its descriptor."""
        self._send(worker, _CONNECTION, 0, [os.dup(connection_fd), _memory_file(request)])

    def close(self) -> None:
        for sock in self._sockets.values():
            self._loop.remove_reader(sock.fileno())
            self._loop.remove_writer(sock.fileno())
            sock.close()

    def _send(self, worker: int, kind: bytes, number: int, fds: list[int]) -> None:
        """Takes the descriptors over."""
        waiting = self._unsent[worker]
        waiting.append((_HEADER.pack(kind, number), fds))
        if len(waiting) == 1:
            self._write(worker)

    def _write(self, worker: int) -> None:
        sock, waiting = self._sockets[worker], self._unsent[worker]
        while waiting:
            header, fds = waiting[0]
            try:
                socket.send_fds(sock, [header], fds)
            except BlockingIOError:
                self._loop.add_writer(sock.fileno(), self._write, worker)
                return
            for fd in waiting.popleft()[1]:
                os.close(fd)
        self._loop.remove_writer(sock.fileno())

    def _read(self, worker: int) -> None:
        sock = self._sockets[worker]
        try:
            header, fds, _, _ = socket.recv_fds(sock, _HEADER.size, _MOST_FDS)
        except BlockingIOError:
            return
        except OSError:
            header, fds = b"", []
        if len(header) < _HEADER.size:  # it is gone: the mock is about to end
            self._loop.remove_reader(sock.fileno())
            return
        kind, number = _HEADER.unpack(header)
        value = _read_memory_file(fds[-1])
        if kind == _CALL:
            name, argument = value
            self._send(worker, _ANSWER, number, [_memory_file(self._answers[name](argument))])
        elif kind == _ANSWER:
            future = self._waiting.get(number)
            if future is not None and not future.done():
                future.set_result(value)
        else:
            task = asyncio.ensure_future(self._adopt(socket.socket(fileno=fds[0]), value))
            self._adopting.add(task)
            task.add_done_callback(self._adopting.discard)


def _memory_file(value: Any) -> int:
    """The descriptor of a file in memory that holds the value."""
    fd = os.memfd_create("mock message", os.MFD_CLOEXEC)
    with open(fd, "wb", closefd=False) as file:
        pickle.dump(value, file)
    return fd


def _read_memory_file(fd: int) -> Any:
    with open(fd, "rb") as file:
        file.seek(0)
        return pickle.load(file)
