"""TraceBlocks: which fixed-size blocks each prompt of a trace is made of, so that real sharing is replayed.

Mooncake's and Qwen-Bailian's traces give per request the ids of its blocks (`hash_ids`, of 512 and 16
tokens); requests with the same leading ids began with the same text. The text of a block is a function of
(seed, id), so that prompts rebuilt from ids share what the real ones shared.
"""

import base64
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

_UNSHARED = -1  # a block that the trace has no id for, until numbered()


@dataclass(frozen=True, slots=True)
class TraceBlocks:
    """ids holds the block ids of all requests one after the other; those of request k end at ends[k]."""

    block_tokens: int
    ids: Ints
    ends: Ints

    @property
    def starts(self) -> Ints:
        starts: Ints = self.ends - np.diff(self.ends, prepend=0)
        return starts

    def of(self, row: int) -> tuple[int, ...]:
        """The block ids of one request, in the order of its prompt."""
        start = int(self.ends[row - 1]) if row else 0
        return tuple(self.ids[start : int(self.ends[row])].tolist())

    def rows(self, rows: Ints, *, copies: Ints | None = None) -> "TraceBlocks":
        """Those of some requests. copies[k] != 0 gives row k ids of that copy's own.

        A copy of a request laid over a trace is another conversation: with the same ids it would hit the
        cache whole, and the trace's hit share would grow with its rate.
        """
        counts = np.diff(self.ends, prepend=0)[rows]
        ends = np.cumsum(counts)
        first = np.repeat(self.starts[rows] - (ends - counts), counts)
        ids = self.ids[first + np.arange(len(first))]
        if copies is not None and len(self.ids):
            ids = ids + np.repeat(copies, counts) * (int(self.ids.max()) + 1)
        return TraceBlocks(self.block_tokens, ids, ends)

    def packed(self) -> str:
        """ids as text: base85 of deflated differences. Ids are mostly runs: a tenth of their JSON."""
        steps = np.diff(self.ids, prepend=0).astype("<i8")
        return base64.b85encode(zlib.compress(steps.tobytes(), 9)).decode("ascii")

    @classmethod
    def unpack(cls, packed: str, *, block_tokens: int, input_tokens: Ints) -> "TraceBlocks":
        """The inverse of packed(); a request has ceil(input / block_tokens) blocks. ValueError if not."""
        try:
            raw = zlib.decompress(base64.b85decode(packed))
        except (ValueError, zlib.error) as error:
            raise ValueError(f"block_ids are not packed ids: {error}") from None
        ids = np.cumsum(np.frombuffer(raw, dtype="<i8")).astype(np.int64)
        ends = np.cumsum(-(-input_tokens // block_tokens))
        wanted = int(ends[-1]) if len(ends) else 0
        if len(ids) != wanted:
            raise ValueError(f"block_ids hold {len(ids)} blocks where the lengths make {wanted}")
        return cls(block_tokens, ids, ends)

    @classmethod
    def numbered(cls, rows: list[list[int]], *, block_tokens: int, input_tokens: Ints) -> "TraceBlocks":
        """From the ids as a file has them: cut or filled to ceil(input / block_tokens) a request.

        What a file has no id for (some leave the last, partial block out) gets one that nobody shares.
        """
        counts = (-(-input_tokens // block_tokens)).tolist()
        flat: list[int] = []
        for row, count in zip(rows, counts, strict=True):
            flat += row[:count]
            flat += [_UNSHARED] * (count - len(row))
        ids = np.array(flat, dtype=np.int64)
        own = np.flatnonzero(ids == _UNSHARED)
        ids[own] = max(int(ids.max(initial=0)), 0) + 1 + np.arange(len(own))
        return cls(block_tokens, ids, np.cumsum(np.array(counts, dtype=np.int64)))

    def hit_tokens(self, input_tokens: Ints) -> Ints:
        """Of each prompt the tokens in leading blocks that an earlier one had: an unlimited cache's hits."""
        seen: set[int] = set()
        hits = []
        ids, start = self.ids.tolist(), 0
        for end, tokens in zip(self.ends.tolist(), input_tokens.tolist(), strict=True):
            matched = 0
            for id in ids[start:end]:
                if id not in seen:
                    break
                matched += 1
            hits.append(min(matched * self.block_tokens, tokens))
            seen.update(ids[start:end])
            start = end
        return np.array(hits, dtype=np.int64)

    def hit_share(self, input_tokens: Ints) -> float:
        """Share of all prompt tokens that an unlimited cache hits."""
        return int(self.hit_tokens(input_tokens).sum()) / int(input_tokens.sum())
