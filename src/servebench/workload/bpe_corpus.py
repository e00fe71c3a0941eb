"""Text of an exact size in tokens of a BPE, as cheap as text of an exact size in bytes: sliced, not counted.

BPE merges never cross the pieces that its pattern cuts a text into, and every word with the space before it
is a piece (o200k_base's pattern; a full stop is one too). So the words' own counts add up: they are counted
once, a slice ends at the last word that fits, and one-token words fill the rest.
"""

from bisect import bisect_right
from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b
from itertools import accumulate

from servebench.errors import UsageError
from servebench.workload.prompts import CORPUS_BYTES, corpus_of

MARK_TOKENS = 24  # of the start that tells texts apart; fewer are filled up to it
_FILL = b" the"


class BpeCorpus:
    """The pseudo-words of prompts.Corpus with the same seed, measured by `count`."""

    def __init__(self, seed: int, count: Callable[[str], int]) -> None:
        if count(_FILL.decode()) != 1:
            raise UsageError("the tokenizer has no single token for ' the', which fills prompts up")
        self._count = lru_cache(maxsize=4096)(count)
        self._seed_mark = blake2b(str(seed).encode(), digest_size=4).hexdigest()
        text = corpus_of(seed).text(CORPUS_BYTES, 0).decode("ascii")
        units = [unit for word in text.split() for unit in _units(word)]
        counted = {unit: count(unit) for unit in set(units)}
        self._text = "".join(units).encode("ascii")
        self._ends = list(accumulate(map(len, units)))  # in bytes, of unit k
        self._tokens = list(accumulate(counted[unit] for unit in units))  # up to the end of unit k

    def material(self) -> bytes:
        return b"bpe/" + self._text

    def text(self, size: int, offset: int) -> bytes:
        """Exactly size tokens from about token `offset` on, around the end as often as it takes."""
        total = self._tokens[-1]
        first = bisect_right(self._tokens, offset % total)
        start_byte, start_token = (self._ends[first - 1], self._tokens[first - 1]) if first else (0, 0)
        parts = []
        while start_token + size >= total:
            parts.append(self._text[start_byte:])
            size -= total - start_token
            start_byte = start_token = 0
        end = bisect_right(self._tokens, start_token + size)
        end_byte, end_token = (self._ends[end - 1], self._tokens[end - 1]) if end else (0, 0)
        if end_byte > start_byte:
            parts.append(self._text[start_byte:end_byte])
            size -= end_token - start_token
        return b"".join([*parts, _FILL * size])

    def unique(self, id: int, size: int) -> bytes:
        """The unshared text of one request: its start is no other request's of this seed."""
        return self._marked(f"{self._seed_mark}-{id:010x}", size, id * 7919)

    def shared(self, prefix_key: str, size: int) -> bytes:
        """The text that all requests of one prefix begin with."""
        digest = blake2b(prefix_key.encode(), digest_size=5).digest()
        return self._marked(f"{self._seed_mark}-{digest.hex()}", size, int.from_bytes(digest, "little"))

    def block(self, block_id: int, size: int) -> bytes:
        """The start of the text of one block of a trace: a function of (seed, id), of any size."""
        digest = blake2b(b"%d" % block_id, digest_size=5).digest()
        offset = int.from_bytes(digest, "little")
        mark = f" {self._seed_mark}={digest.hex()}"  # a space first: it follows another block's last word
        tokens = self._count(mark)
        if size < tokens:
            return self.text(size, offset)
        return mark.encode("ascii") + self.text(size - tokens, offset)

    def piece(self, what: str, size: int) -> bytes:
        """Exactly size tokens of text named by what."""
        return self.text(size, int.from_bytes(blake2b(what.encode(), digest_size=5).digest(), "little"))

    def _marked(self, mark: str, size: int, offset: int) -> bytes:
        if size < MARK_TOKENS:
            raise UsageError(
                f"a prompt part of {size} tokens is too short: it takes {MARK_TOKENS} to be told apart"
            )
        return mark.encode("ascii") + self.text(size - self._count(mark), offset)


def _units(word: str) -> list[str]:
    return [f" {word[:-1]}", "."] if word.endswith(".") else [f" {word}"]
