"""The arguments of a model's tool calls, piece by piece: do they come to JSON? Pure.

An agent can't carry out a call whose arguments don't parse, however well the stream ended.
"""

import json


class ToolArguments:
    """Keys tell calls apart, as the dialect does. A call without arguments is none that is broken."""

    __slots__ = ("_pieces",)

    def __init__(self) -> None:
        self._pieces: dict[object, list[str]] = {}

    def add(self, key: object, piece: str) -> None:
        self._pieces.setdefault(key, []).append(piece)

    def put(self, key: object, whole: str) -> None:
        """In place of the pieces: some dialects say it all again at the end."""
        self._pieces[key] = [whole]

    @property
    def broken(self) -> int:
        """Calls whose arguments are no JSON object."""
        return sum(not _is_object("".join(pieces)) for pieces in self._pieces.values())


def argument_piece(call: object) -> str:
    """What a delta of Chat Completions, or a whole message's call, has of them."""
    function = call.get("function") if isinstance(call, dict) else None
    piece = function.get("arguments") if isinstance(function, dict) else None
    return piece if isinstance(piece, str) else ""


def _is_object(text: str) -> bool:
    if not text.strip():
        return True
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
