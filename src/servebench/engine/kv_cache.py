"""The KV memory of one replica: a pool of equal blocks with reference counts and a prefix cache.

A block is private to a sequence until its tokens are computed and it has a key; then it is shared by all
prompts with the same beginning. Released keyed blocks stay as cache until their memory is wanted: least
recently used first, of one release the deepest first, so that a victim is always a leaf of the prefix tree
(engine.prefix_tree). Private blocks have no identity, so they are only counted:
total = private + shared + idle + free, always.
"""

import hashlib
from functools import lru_cache

from servebench.engine.prefix_tree import PrefixTree
from servebench.engine.sequence import Sequence


def prompt_block_keys(
    prompt: bytes, *, preamble_tokens: int, bytes_per_token: float, block_tokens: int
) -> tuple[int, ...]:
    """Chained 64-bit keys of the prompt's whole blocks, without a tokenizer: token t (after the preamble,
    the same for every prompt of a tier) covers the bytes up to (t - preamble) * bytes_per_token.

    Equal keys at i mean equal bytes up to the end of block i.
    """
    tokens = preamble_tokens + int(len(prompt) / bytes_per_token)
    blocks = tokens // block_tokens
    inside = min(blocks, preamble_tokens // block_tokens)
    known, first_keys = _preamble_keys(inside)
    digest, keys = known.copy(), list(first_keys)
    view, start = memoryview(prompt), 0
    for i in range(inside, blocks):
        end = int(((i + 1) * block_tokens - preamble_tokens) * bytes_per_token)
        digest.update(i.to_bytes(4, "big"))
        digest.update(view[start:end])
        start = end
        keys.append(int.from_bytes(digest.copy().digest(), "big"))
    return tuple(keys)


@lru_cache(maxsize=64)
def _preamble_keys(blocks: int) -> "tuple[hashlib.blake2b, tuple[int, ...]]":
    """Of blocks inside the preamble, which have no bytes of their own, with the digest up to there."""
    digest, keys = hashlib.blake2b(digest_size=8), []
    for i in range(blocks):
        digest.update(i.to_bytes(4, "big"))
        keys.append(int.from_bytes(digest.copy().digest(), "big"))
    return digest, tuple(keys)


class KvCache:
    """total_blocks blocks of block_tokens tokens. Sequences hold blocks from admit() to release()."""

    def __init__(self, total_blocks: int, block_tokens: int) -> None:
        self.total_blocks, self.block_tokens = total_blocks, block_tokens
        self.free_blocks = total_blocks  # never held or evicted
        self.tree = PrefixTree()

    @property
    def available_blocks(self) -> int:
        """Free, or free once evicted."""
        return self.free_blocks + self.tree.idle_blocks

    @property
    def used_blocks(self) -> int:
        return self.total_blocks - self.available_blocks

    @property
    def shared_blocks(self) -> int:
        return self.tree.blocks - self.tree.idle_blocks

    @property
    def idle_blocks(self) -> int:
        return self.tree.idle_blocks

    def blocks_for(self, tokens: int) -> int:
        return -(-tokens // self.block_tokens)

    def cached_keys(self) -> set[int]:
        """Of all cached blocks, in use or not: a look at the whole cache."""
        return set(self.tree.keys())

    def matching_blocks(self, sequence: Sequence, tokens: int) -> int:
        """Leading blocks already cached, at most so many that the last of tokens is still to compute."""
        return self.tree.find(sequence.block_keys, self._usable(sequence, tokens), self.tree.root)[1]

    def admit(self, sequence: Sequence, tokens: int, *, keep_free: int = 0) -> bool:
        """Gives the sequence room for tokens, cached blocks first; False (and no change) where there is none.

        Sets held_keys, private_blocks and computed.
        """
        tree = self.tree
        run, matched, revived = tree.find(sequence.block_keys, self._usable(sequence, tokens), tree.root)
        private = self.blocks_for(tokens) - matched
        if private + keep_free > self.available_blocks - revived:
            return False
        sequence.held_run = tree.hold(run, matched, tree.root) if matched else None
        self._take(private)
        sequence.held_keys, sequence.private_blocks = matched, private
        sequence.computed = matched * self.block_tokens
        return True

    def grow(self, sequence: Sequence) -> bool:
        """One more private block; False where none is left."""
        if self.available_blocks == 0:
            return False
        self._take(1)
        sequence.private_blocks += 1
        return True

    def share(self, sequence: Sequence) -> None:
        """Puts the whole blocks computed so far under their keys, so that later prompts can use them."""
        keys, held = sequence.block_keys, sequence.held_keys
        whole = min(len(keys), sequence.computed // self.block_tokens)
        if whole <= held:
            return
        tree, tail = self.tree, sequence.held_run or self.tree.root
        run, depth, _ = tree.find(keys, whole, tail)
        if depth > held:  # computed twice at the same time: keep one, give ours back
            tail = tree.hold(run, depth, tail)
            self.free_blocks += depth - held
        if depth < whole:
            tail = tree.extend(tail, keys, whole)
        sequence.held_run = tail
        sequence.private_blocks -= whole - held
        sequence.held_keys = whole

    def release(self, sequence: Sequence) -> None:
        """Takes all blocks back; keyed ones stay cached."""
        self.free_blocks += sequence.private_blocks
        if sequence.held_run is not None:
            self.tree.release(sequence.held_run)
            sequence.held_run = None
        sequence.private_blocks = sequence.held_keys = sequence.computed = 0

    def forget(self) -> None:
        """Evicts all that is idle: a replica that starts anew has a cold cache."""
        self.free_blocks += self.tree.idle_blocks
        self.tree.evict(self.tree.idle_blocks)

    def _usable(self, sequence: Sequence, tokens: int) -> int:
        return min(len(sequence.block_keys), (tokens - 1) // self.block_tokens)

    def _take(self, blocks: int) -> None:
        missing = blocks - self.free_blocks
        if missing > 0:
            self.tree.evict(missing)
            self.free_blocks += missing
        self.free_blocks -= blocks
