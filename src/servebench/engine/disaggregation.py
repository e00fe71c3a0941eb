"""Prefill and decode on replicas of their own, with the KV cache sent from one to the other.

A prefill replica computes a prompt and its first token; the prompt's KV then goes over the scale-out
network, kappa bytes a token, from all GPUs that hold a share of it at once, one prompt after the other; when
it is there the sequence joins the batch of a decode replica as soon as that has blocks for it:

    t_transfer = kappa n / (G_kv S 0.8)        S: scale-out bytes/s of one GPU

Preempted there, it is computed again there. Not modelled: that the prefill replica holds the blocks until
they are sent, and a prefix cache on the decode side.
"""

from dataclasses import dataclass

from servebench.catalog.hardware import Gpu
from servebench.catalog.tiers import Tier
from servebench.engine.sequence import Sequence, State
from servebench.errors import UsageError

LINK_EFFICIENCY = 0.8  # of the network's rate, assumed


@dataclass(frozen=True, slots=True)
class Split:
    """Replicas that prefill, replicas that decode."""

    prefill: int
    decode: int

    @property
    def replicas(self) -> int:
        return self.prefill + self.decode

    def times(self, groups: int) -> "Split":
        return Split(self.prefill * groups, self.decode * groups)


def parse_split(text: str) -> Split:
    """ "P:D". Raises UsageError."""
    parts = text.split(":")
    if len(parts) != 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(
            f"{text!r} is no split: give prefill and decode replicas as P:D, 1 or more of each, as 2:1"
        )
    return Split(int(parts[0]), int(parts[1]))


class Handover:
    """What becomes of a sequence between the two kinds of replicas. prefill: how many there are."""

    def __init__(self, tier: Tier, gpu: Gpu, *, prefill: int) -> None:
        link = tier.serving.kv_shards * gpu.scaleout_bytes_per_s * LINK_EFFICIENCY
        self._s_per_token = tier.shape.kv_bytes_per_token / link
        self._free_s = [0.0] * prefill  # when each prefill replica's link is idle again
        self._waiting: dict[int, Sequence] = {}

    def transfer_s(self, tokens: int) -> float:
        """Of one prompt alone on the link."""
        return tokens * self._s_per_token

    def begin(self, sequence: Sequence) -> Sequence:
        """What the prefill replica is to run in its place: the prompt and one token."""
        leg = Sequence(
            sequence.id,
            sequence.arrival_s,
            sequence.prompt_tokens,
            1,
            sequence.block_keys,
            workload=sequence.workload,
        )
        self._waiting[sequence.id] = sequence
        return leg

    def end(self, leg: Sequence, prefill: int, end_s: float) -> Sequence | None:
        """The first token is made, on that prefill replica. Returns the sequence, ready when its KV is sent,
        for a decode replica; None where it has ended."""
        sequence = self._waiting.pop(leg.id)
        sequence.admitted_s = leg.admitted_s
        sequence.cached_tokens = leg.cached_tokens
        sequence.preemptions = leg.preemptions
        sequence.first_token_s = end_s
        sequence.generated = 1
        if sequence.output_tokens == 1:
            sequence.finished_s, sequence.state = end_s, State.FINISHED
            return None
        start_s = max(end_s, self._free_s[prefill])
        self._free_s[prefill] = sequence.ready_s = start_s + self.transfer_s(sequence.prompt_tokens)
        sequence.prefilled, sequence.block_keys = True, ()
        return sequence

    def cancel(self, sequence_id: int) -> None:
        """Nothing, where its prefill has ended."""
        self._waiting.pop(sequence_id, None)
