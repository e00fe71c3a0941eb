"""HeldBody: a body that is read at its end, an error or an answer that is not streamed. Pure."""

from typing import Any, Final

import orjson

MAX_BODY: Final = 1 << 24
MAX_ERROR_BODY: Final = 1 << 16


class HeldBody:
    """add(piece, at_ns) as they come. size: bytes that came, kept or not; at_ns: when the last one did."""

    __slots__ = ("_pieces", "at_ns", "size")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.size = self.at_ns = 0

    def add(self, piece: bytes, at_ns: int, most: int) -> bool:
        """Whether all is kept so far; no piece is that goes past most bytes."""
        self.size += len(piece)
        self.at_ns = at_ns
        if self.size > most:
            return False
        self._pieces.append(piece)
        return True

    def json(self) -> Any:
        """Raises ValueError."""
        return orjson.loads(b"".join(self._pieces))

    def json_or_text(self) -> Any:
        body = b"".join(self._pieces)
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            return body.decode("utf-8", "replace")
