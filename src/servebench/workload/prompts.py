"""Prompt text of an exact size in bytes, unique or shared at its start as asked, cheap at a million tokens.

Size is measured as the mock bills it, with no tokenizer (the tokenizer of Grok 4.x is not public):

    prompt_tokens = preamble_tokens + ceil(bytes / bytes_per_token)
    bytes = UTF-8 bytes of every message's content + bytes of the `tools` array as compact JSON

The text is word-like, of letters, spaces and full stops: one byte a character, nothing that JSON escapes,
so that a body is made by joining slices of one corpus.
"""

import math
from functools import lru_cache
from hashlib import blake2b

import numpy as np

from servebench.errors import UsageError
from servebench.workload.draws import generator

MARK_BYTES = 20  # "1a2b3c4d-0123456789 ": eight of the seed, ten of the id or prefix, and two separators
CORPUS_BYTES = 1 << 20

_ONSETS = (
    "b",
    "br",
    "c",
    "ch",
    "d",
    "f",
    "g",
    "gr",
    "h",
    "l",
    "m",
    "n",
    "p",
    "pl",
    "r",
    "s",
    "st",
    "t",
    "tr",
    "v",
)
_RIMES = ("a", "an", "ar", "e", "el", "en", "er", "i", "in", "ion", "o", "on", "or", "u", "um", "y")


def billed_tokens(units: int, *, preamble_tokens: int, units_per_token: float) -> int:
    """Prompt tokens of so many units of content and tools; of bytes, as the mock bills (formula above)."""
    return preamble_tokens + math.ceil(units / units_per_token)


def units_for(tokens: int, *, units_per_token: float) -> int:
    """The most units that make exactly this many tokens, preamble apart. units_per_token >= 1."""
    size = math.floor(tokens * units_per_token)
    while math.ceil(size / units_per_token) > tokens:  # the product may round up across the boundary
        size -= 1
    return size


class Corpus:
    """Text slices of a seed: `text(size, offset)` wraps around a megabyte of pseudo-words."""

    def __init__(self, seed: int) -> None:
        rng = generator(seed, "corpus")
        syllables = [onset + rime for onset in _ONSETS for rime in _RIMES]
        picks = rng.integers(len(syllables), size=(2000, 3))
        lengths = rng.integers(1, 4, size=2000)
        words = [
            "".join(syllables[s] for s in row[:n])
            for row, n in zip(picks.tolist(), lengths.tolist(), strict=True)
        ]
        # squaring makes early words frequent, as in language; every twelfth word or so ends a sentence
        chosen = (rng.random(CORPUS_BYTES // 4) ** 2 * len(words)).astype(np.int64)
        ends = rng.random(len(chosen)) < 1 / 12
        pieces = [
            words[w] + (". " if end else " ") for w, end in zip(chosen.tolist(), ends.tolist(), strict=True)
        ]
        self._text = "".join(pieces).encode("ascii")[:CORPUS_BYTES]
        self._seed_mark = blake2b(str(seed).encode(), digest_size=4).hexdigest()

    def material(self) -> bytes:
        """All that texts are cut from."""
        return self.text(CORPUS_BYTES, 0)

    def text(self, size: int, offset: int) -> bytes:
        """Exactly size bytes, from offset on, around the end as often as it takes."""
        corpus = self._text
        start = offset % len(corpus)
        if start + size <= len(corpus):
            return corpus[start : start + size]
        head = corpus[start:]
        whole, rest = divmod(size - len(head), len(corpus))
        return b"".join((head, corpus * whole, corpus[:rest]))

    def unique(self, id: int, size: int) -> bytes:
        """The unshared text of one request: its first MARK_BYTES are no other request's of this seed."""
        return self._marked(f"{id:010x}", size, offset=id * 7919)

    def shared(self, prefix_key: str, size: int) -> bytes:
        """The text that all requests of one prefix begin with."""
        digest = blake2b(prefix_key.encode(), digest_size=5).digest()
        return self._marked(digest.hex(), size, offset=int.from_bytes(digest, "little"))

    def block(self, block_id: int, size: int) -> bytes:
        """The start of the text of one block of a trace: a function of (seed, id), of any size."""
        digest = blake2b(b"%d" % block_id, digest_size=5).digest()
        start = f"{self._seed_mark}={digest.hex()} ".encode("ascii")
        if size <= len(start):
            return start[len(start) - size :]  # the digest tells blocks apart, the seed doesn't
        return start + self.text(size - len(start), int.from_bytes(digest, "little"))

    def piece(self, what: str, size: int) -> bytes:
        """Exactly size bytes of text named by what: for the middle of a prompt, where nothing marks it."""
        return self.text(size, int.from_bytes(blake2b(what.encode(), digest_size=5).digest(), "little"))

    def _marked(self, mark: str, size: int, offset: int) -> bytes:
        if size < MARK_BYTES:
            raise UsageError(
                f"a prompt part of {size} bytes is too short: it takes {MARK_BYTES} to be told apart"
            )
        start = f"{self._seed_mark}-{mark} ".encode("ascii")
        return start + self.text(size - len(start), offset)


@lru_cache(maxsize=1)
def corpus_of(seed: int) -> Corpus:
    """The corpus of a seed, made once: it takes tens of ms, and a forked worker has its parent's."""
    return Corpus(seed)
