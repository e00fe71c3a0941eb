"""Sink: where the tokens of one sequence go."""

from typing import Protocol

from mock_server.connection import WriteTo

Prepared = tuple[WriteTo, int, bytes]  # a connection, its descriptor, and what is to be written there


class Sink(Protocol):
    """last_s: engine time of its latest token, kept by the replica. Nothing here may raise."""

    last_s: float

    def emit(self, tokens: int, second: int, finished: bool) -> None:
        """The next tokens of the sequence. second: Unix time."""

    def prepare(self, second: int, end_s: float, finished: bool) -> Prepared | None:
        """In place of emit(1, second, finished), before its time: what is to be written past everything else
        at end_s, engine time; None where emit has to be called then. It is written, unless the sequence is
        cancelled."""
        return None

    def prepared_end(self) -> None:
        """What was prepared with finished True has been written."""
        return
