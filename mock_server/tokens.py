"""Emitted text: deterministic words, one a token, from a ring at an offset that the request's digest gives.

Not a tokenizer: a "token" is a word of a fixed list with the space before it, or a piece of a JSON document.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from statistics import NormalDist

import orjson

# short common words: 4.3 bytes a token with the space, near what real tokenizers give for English
_LEXICON = """
the of and to in is it you that he was for on are with as his they be at one have this from or had by hot
but some what there we can out other were all your when up use word how said an each she which do their
time if will way about many then them would write like so these her long make thing see him two has look
more day could go come did my sound no most number who over know water than call first people may down
side been now find any new work part take get place made live where after back little only round man year
came show every good me give our under name very through just form much great think say help low line
before turn cause same mean differ move right boy old too does tell set three want air well also play
small end put home read hand port large spell add even land here must big high such follow act why ask
men change went light kind off need house picture try us again animal point mother world near build self
earth
"""
_RING_SIZE = 4096  # a power of two
_RING = tuple(
    f" {word}".encode() for word in Random("servebench words").choices(_LEXICON.split(), k=_RING_SIZE)
)
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Words:
    """An endless run of word tokens."""

    offset: int

    def fragment(self, start: int, end: int) -> bytes:
        """JSON-escaped text of tokens start..end-1."""
        first = (self.offset + start) % _RING_SIZE
        count = end - start
        if count == 1:
            text = _RING[first]
        else:
            ring = _RING if first + count <= _RING_SIZE else _RING * (2 + count // _RING_SIZE)
            text = b"".join(ring[first : first + count])
        return text[1:] if start == 0 else text

    def plain(self, count: int) -> str:
        """The first `count` tokens as text."""
        return self.fragment(0, count).decode() if count else ""

    def piece(self, index: int) -> str:
        return self.fragment(index, index + 1).decode()


@dataclass(frozen=True, slots=True)
class Pieces:
    """A document cut into tokens."""

    pieces: tuple[str, ...]

    def fragment(self, start: int, end: int) -> bytes:
        return orjson.dumps("".join(self.pieces[start:end]))[1:-1]

    def plain(self, count: int) -> str:
        return "".join(self.pieces[:count])

    def piece(self, index: int) -> str:
        return self.pieces[index]


Text = Words | Pieces


def pieces_of(document: str, bytes_per_token: float) -> Pieces:
    """The document in ceil(bytes / bytes_per_token) nearly equal pieces of at least one character."""
    count = min(len(document), token_count(len(document.encode()), bytes_per_token))
    edges = [len(document) * i // count for i in range(count + 1)]
    return Pieces(tuple(document[a:b] for a, b in itertools.pairwise(edges)))


def cut_at_stop(text: Text, tokens: int, stops: Sequence[str]) -> Pieces | None:
    """The first `tokens` of the text up to the first stop sequence in it; None where there is none.

    A token for every one that was generated, those of the sequence itself included: they say nothing.
    """
    whole = text.plain(tokens)
    found = [(whole.find(stop), len(stop)) for stop in stops if stop in whole]
    if not found:
        return None
    start, length = min(found)
    pieces: list[str] = []
    size = 0
    while size < start + length:
        piece = text.piece(len(pieces))
        pieces.append(piece[: max(0, start - size)])
        size += len(piece)
    return Pieces(tuple(pieces))


def token_count(size_bytes: int, bytes_per_token: float) -> int:
    """ceil(size_bytes / bytes_per_token)."""
    return math.ceil(size_bytes / bytes_per_token)


def lognormal_tokens(uniform: float, *, mu: float, sigma: float) -> int:
    """The quantile `uniform` (0 < u < 1) of exp(N(mu, sigma)), as a whole number of tokens >= 1."""
    return max(1, round(math.exp(mu + sigma * _NORMAL.inv_cdf(uniform))))
