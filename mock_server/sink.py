"""Sink: where the tokens of one sequence go."""

from typing import Protocol

from mock_server.connection import WriteTo

Prepared = tuple[WriteTo, int, bytes]  # a connection, its descriptor, and what is to be written there


class Sink(Protocol):
    """last_s: engine time of its latest token, kept by the replica. Nothing here may raise."""

    last_s: float

    def emit(self, tokens: int, second: int, finished: bool) -> None:
        """The next tokens of the sequence. second: Unix time."""

    def prepare(self, second: int) -> Prepared | None:
        """What emit(1, second, False) would write, where that can be written past everything else; then
        either that is written and prepared_sent() called, or it is forgotten."""
        return None

    def prepared_sent(self) -> None:
        """In place of emit(1, second, False)."""
        return
