"""The KV cache block by block, as its rules read: what the cache of runs must equal, move for move."""

from collections import OrderedDict

from servebench.engine.sequence import Sequence


class BlockCache:
    """total_blocks blocks of block_tokens tokens. Sequences hold blocks from admit() to release()."""

    def __init__(self, total_blocks: int, block_tokens: int) -> None:
        self.total_blocks, self.block_tokens = total_blocks, block_tokens
        self.free_blocks = total_blocks  # never held or evicted
        self._references: dict[int, int] = {}  # key -> holders; present while cached
        self._idle: OrderedDict[int, None] = OrderedDict()  # cached with no holder, next victim first

    @property
    def available_blocks(self) -> int:
        """Free, or free once evicted."""
        return self.free_blocks + len(self._idle)

    @property
    def used_blocks(self) -> int:
        return self.total_blocks - self.available_blocks

    @property
    def shared_blocks(self) -> int:
        return len(self._references) - len(self._idle)

    @property
    def idle_blocks(self) -> int:
        return len(self._idle)

    def blocks_for(self, tokens: int) -> int:
        return -(-tokens // self.block_tokens)

    def cached_keys(self) -> set[int]:
        return set(self._references)

    def matching_blocks(self, sequence: Sequence, tokens: int) -> int:
        """Leading blocks already cached, at most so many that the last of tokens is still to compute."""
        keys, references = sequence.block_keys, self._references
        low, high = 0, min(len(keys), (tokens - 1) // self.block_tokens)
        while low < high:  # what is cached is a beginning: leaves go first
            middle = (low + high + 1) // 2
            if keys[middle - 1] in references:
                low = middle
            else:
                high = middle - 1
        return low

    def admit(self, sequence: Sequence, tokens: int, *, keep_free: int = 0) -> bool:
        matched = self.matching_blocks(sequence, tokens)
        keys = sequence.block_keys[:matched]
        private = self.blocks_for(tokens) - matched
        revived = sum(1 for key in keys if key in self._idle)
        if private + keep_free > self.available_blocks - revived:
            return False
        for key in keys:
            self._hold(key)
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
        whole = min(len(sequence.block_keys), sequence.computed // self.block_tokens)
        for key in sequence.block_keys[sequence.held_keys : whole]:
            if key in self._references:  # computed twice at the same time: keep one, give ours back
                self._hold(key)
                self.free_blocks += 1
            else:
                self._references[key] = 1
            sequence.private_blocks -= 1
        sequence.held_keys = max(sequence.held_keys, whole)

    def release(self, sequence: Sequence) -> None:
        """Takes all blocks back; keyed ones stay cached."""
        self.free_blocks += sequence.private_blocks
        references = self._references
        for key in reversed(sequence.block_keys[: sequence.held_keys]):
            references[key] -= 1
            if references[key] == 0:
                self._idle[key] = None
        sequence.private_blocks = sequence.held_keys = sequence.computed = 0

    def forget(self) -> None:
        """Evicts all that is idle: a replica that starts anew has a cold cache."""
        for key in self._idle:
            del self._references[key]
        self.free_blocks += len(self._idle)
        self._idle.clear()

    def _hold(self, key: int) -> None:
        if self._references[key] == 0:
            del self._idle[key]
        self._references[key] += 1

    def _take(self, blocks: int) -> None:
        while self.free_blocks < blocks:
            victim, _ = self._idle.popitem(last=False)
            del self._references[victim]
            self.free_blocks += 1
        self.free_blocks -= blocks
