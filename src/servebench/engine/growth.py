"""Growth: when a decoding sequence outgrows its KV blocks, and who gets the next ones.

A step feeds the last token made and the drafts: before it prompt + generated + drafts tokens must have room.
"""

from collections.abc import Callable

from servebench.engine.decoding import Decoding
from servebench.engine.kv_cache import KvCache
from servebench.engine.sequence import Sequence, State


class Growth:
    """needing: sequences that have no room for their next step; some may have ended since."""

    def __init__(self, cache: KvCache, *, drafts: int) -> None:
        self._cache, self._drafts = cache, drafts
        self.needing: list[Sequence] = []

    @property
    def enough(self) -> bool:
        """A block for each, without preempting any."""
        return self._cache.available_blocks >= len(self.needing)

    def tokens_to_hold(self, sequence: Sequence) -> int:
        """At admission: what is to be prefilled, or all that is there and the first step with its drafts."""
        if not sequence.prefilled:
            return sequence.prefill_target
        room = sequence.output_tokens - sequence.generated
        return sequence.prompt_tokens + sequence.generated + min(self._drafts, room)

    def plan(self, sequence: Sequence) -> None:
        """Sets next_event: when will prompt, generated tokens and drafts outgrow the blocks?"""
        blocks = sequence.held_keys + sequence.private_blocks
        room = blocks * self._cache.block_tokens - sequence.prompt_tokens
        enough = room >= sequence.output_tokens  # drafts past the end need no room
        sequence.next_event = sequence.output_tokens if enough else room - self._drafts + 1

    def serve(self, decoding: Decoding, preempt: Callable[[], None]) -> bool:
        """A block for each of the needing, oldest admission first; True where one was preempted for it."""
        needing, self.needing = self.needing, []
        if len(needing) > 1:
            needing.sort(key=lambda s: s.admission)
        preempted = False
        for sequence in needing:
            while sequence.state is State.DECODING and sequence.generated >= sequence.next_event:
                if self._cache.grow(sequence):
                    self.plan(sequence)
                else:
                    preempt()
                    preempted = True
            if sequence.state is State.DECODING:
                decoding.plan(sequence)
        return preempted
