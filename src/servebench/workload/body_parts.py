"""BodyParts: a request's body before it is one piece of memory.

A prompt of a million tokens is four megabytes, nearly all of it a document that other requests begin with
too. Bodies that wait for their turn or for their answer hold that text once between them; a body is joined
when it is sent, and the whole is let go when it has left.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence

LARGE_BYTES = 1 << 16  # smaller parts are cheaper to copy than to keep apart
KEPT_BYTES = 64 << 20


class BodyParts:
    """len() is the size of the whole and bytes() the whole."""

    __slots__ = ("_parts", "_size")

    def __init__(self, parts: Sequence[bytes]) -> None:
        merged: list[bytes] = []
        small: list[bytes] = []
        for part in parts:
            if len(part) < LARGE_BYTES:
                small.append(part)
                continue
            if small:
                merged.append(b"".join(small))
                small = []
            merged.append(part)
        self._parts = (*merged, b"".join(small))
        self._size = sum(map(len, parts))

    def __len__(self) -> int:
        return self._size

    def __bytes__(self) -> bytes:
        return b"".join(self._parts)


class KeptTexts:
    """Remembers large texts that are asked for again, KEPT_BYTES of them, the last used."""

    def __init__(self, make: Callable[[str, int], bytes]) -> None:
        self._make = make
        self._kept: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._size = 0

    def __call__(self, key: str, size: int) -> bytes:
        text = self._kept.get((key, size))
        if text is not None:
            self._kept.move_to_end((key, size))
            return text
        text = self._make(key, size)
        if LARGE_BYTES <= len(text) <= KEPT_BYTES:
            self._kept[key, size] = text
            self._size += len(text)
            while self._size > KEPT_BYTES:
                _, old = self._kept.popitem(last=False)
                self._size -= len(old)
        return text
