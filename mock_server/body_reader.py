"""BodyReader: long bodies are parsed and hashed by a child process, started when the first one comes."""

import asyncio
import os
import pickle
import signal
import socket
import sys
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mock_server.admission import Admitted, AdmittedResponse, HistoryNeededError, ServedTier
from mock_server.body_frames import ANSWER, CHAT, HEADER, RESPONSE, SETUP, TOKENS
from mock_server.refusals import RefusalError
from mock_server.response_request import Turn


@dataclass(frozen=True, slots=True)
class _Child:
    process_id: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class BodyReader:
    """One body at a time, in the order they come; a child that dies is replaced. For one event loop."""

    def __init__(self, models: Mapping[str, ServedTier], *, seed: int) -> None:
        self._setup = pickle.dumps((dict(models), seed))
        self._child: _Child | None = None
        self._lock = asyncio.Lock()

    @property
    def process_id(self) -> int | None:
        """None while no long body has come."""
        return None if self._child is None else self._child.process_id

    async def admit_chat(self, chunks: Sequence[bytes]) -> Admitted:
        """Raises RefusalError."""
        admitted, keys = await self._ask(CHAT, chunks, b"")
        made: Admitted = replace(admitted, block_keys=keys)
        return made

    async def admit_response(
        self, chunks: Sequence[bytes], history: Sequence[Turn] | None
    ) -> AdmittedResponse:
        """Raises RefusalError, HistoryNeededError."""
        turns = b"" if history is None else pickle.dumps(tuple(history))
        asked, keys = await self._ask(RESPONSE, chunks, turns)
        made: AdmittedResponse = replace(asked, admitted=replace(asked.admitted, block_keys=keys))
        return made

    async def tokens(self, chunks: Sequence[bytes]) -> tuple[str, bytes]:
        """Of tokenize-text: the tier's id and the answer's body. Raises RefusalError."""
        made: tuple[str, bytes] = (await self._ask(TOKENS, chunks, b""))[0]
        return made

    def close(self) -> None:
        if self._child is not None:
            self._child.writer.transport.abort()
            os.kill(self._child.process_id, signal.SIGKILL)
            os.waitpid(self._child.process_id, 0)
            self._child = None

    async def _ask(self, kind: bytes, chunks: Sequence[bytes], history: bytes) -> tuple[Any, tuple[int, ...]]:
        async with self._lock:
            try:
                made, keys = await self._exchange(kind, chunks, history)
            except (ConnectionError, asyncio.IncompleteReadError):  # it has died: once more with another
                self.close()
                made, keys = await self._exchange(kind, chunks, history)
            except asyncio.CancelledError:  # half an exchange: what follows would not be its answer
                self.close()
                raise
        if isinstance(made, RefusalError | HistoryNeededError):
            raise made
        return made, keys

    async def _exchange(
        self, kind: bytes, chunks: Sequence[bytes], history: bytes
    ) -> tuple[Any, tuple[int, ...]]:
        child = self._child
        if child is None:
            child = self._child = await self._start()
        size = sum(len(chunk) for chunk in chunks)
        child.writer.writelines([HEADER.pack(kind, size, len(history)), *chunks, history])
        await child.writer.drain()
        pickled, packed = ANSWER.unpack(await child.reader.readexactly(ANSWER.size))
        made = pickle.loads(await child.reader.readexactly(pickled))
        return made, tuple(array("Q", await child.reader.readexactly(packed)))

    async def _start(self) -> _Child:
        ours, theirs = socket.socketpair()
        with theirs:
            process_id = _spawn(theirs.fileno())
        reader, writer = await asyncio.open_connection(sock=ours)
        writer.writelines([HEADER.pack(SETUP, len(self._setup), 0), self._setup])
        return _Child(process_id, reader, writer)


def _spawn(fd: int) -> int:
    """Starts the child with this descriptor and gives its id.

    Not by subprocess: the child leaves a real-time class of the server's before it runs at all, since the
    tenth of a second in which an interpreter starts would be the streams' on a shared core.
    """
    os.set_inheritable(fd, True)
    command = [sys.executable, "-m", "mock_server.body_worker", str(fd)]
    no_input = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)]
    if not hasattr(os, "sched_setscheduler"):  # macOS has no such class either
        return os.posix_spawn(sys.executable, command, os.environ, file_actions=no_input)
    usual = (os.SCHED_OTHER, os.sched_param(0))
    return os.posix_spawn(sys.executable, command, os.environ, file_actions=no_input, scheduler=usual)
