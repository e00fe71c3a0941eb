"""The process that reads long bodies: `python -m mock_server.body_worker FD`, a child of the server.

Parsing and hashing megabytes holds the interpreter for many milliseconds, in a thread of the server as well.
It ends when the server's end of the socket closes.
"""

import os
import pickle
import signal
import socket
import sys
from array import array
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from mock_server.admission import HistoryNeededError, ServedTier, admit, admit_response
from mock_server.body_frames import ANSWER, CHAT, HEADER, RESPONSE, SETUP
from mock_server.refusals import RefusalError
from mock_server.tokenization import token_list

_NICENESS = 5  # streams come first where the cores are full


class Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...
    def write(self, data: bytes, /) -> int: ...
    def flush(self) -> None: ...


class Worker:
    def __init__(self, models: Mapping[str, ServedTier], seed: int) -> None:
        self._models = models
        self._seed = seed

    def answer(self, kind: bytes, body: bytes, history: bytes) -> tuple[Any, tuple[int, ...]]:
        """(what is pickled, block keys). Refusals are answers."""
        try:
            if kind == CHAT:
                admitted = admit(body, self._models, seed=self._seed)
                return replace(admitted, block_keys=()), admitted.block_keys
            if kind == RESPONSE:
                turns = pickle.loads(history) if history else None
                asked = admit_response(body, turns, self._models, seed=self._seed)
                bare = replace(asked, admitted=replace(asked.admitted, block_keys=()))
                return bare, asked.admitted.block_keys
            return token_list(body, self._models), ()
        except HistoryNeededError as needed:
            return needed, ()
        except RefusalError as refusal:
            return refusal, ()


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server's, which ends this one by its socket
    _step_back()
    with socket.socket(fileno=int(sys.argv[1])) as connection, connection.makefile("rwb") as stream:
        _serve(stream)


def _step_back() -> None:
    """Out of any real-time class of the server's, and behind it."""
    if hasattr(os, "sched_setscheduler"):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    os.nice(_NICENESS)


def _serve(stream: Stream) -> None:
    worker: Worker | None = None
    while len(header := stream.read(HEADER.size)) == HEADER.size:
        kind, body_size, history_size = HEADER.unpack(header)
        body, history = stream.read(body_size), stream.read(history_size)
        if len(history) < history_size or len(body) < body_size:
            return
        if kind == SETUP:
            worker = Worker(*pickle.loads(body))
            continue
        assert worker is not None
        made, keys = worker.answer(kind, body, history)
        pickled, packed = pickle.dumps(made), array("Q", keys).tobytes()
        stream.write(ANSWER.pack(len(pickled), len(packed)) + pickled + packed)
        stream.flush()


if __name__ == "__main__":
    main()
