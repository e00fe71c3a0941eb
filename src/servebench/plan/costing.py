"""Whose GPU time a simulated run was: sees every step of the replicas and hands its seconds to
cost.allocation.

A prompt token's FLOP: 2 P_act, and f_p for each position before it.
"""

from servebench.catalog.hardware import Gpu
from servebench.catalog.tiers import Tier
from servebench.cost.allocation import GpuTime, StepUse
from servebench.engine.replica import Replica, Step
from servebench.engine.sequence import Sequence, State
from servebench.engine.step_time import StepTimeModel
from servebench.plan.traffic import Traffic, calls_in


class StepCosts:
    """An observer for simulate(). time: GPU seconds by the number of the call, in order of arrival."""

    def __init__(self, traffic: Traffic, *, tier: Tier, gpu: Gpu) -> None:
        self.time = GpuTime(calls_in(traffic.follow_ups, len(traffic)))
        self._model = StepTimeModel(tier.shape, tier.serving, gpu)
        self._fixed_s = self._model.step(0, 0).total_s
        self._flop_per_token = 2 * tier.shape.params_active
        self._flop_per_pair = tier.shape.attn_prefill_flop
        self._members: dict[int, _Members] = {}  # by replica

    def __call__(self, replica: Replica, step: Step) -> None:
        batch, model, fixed_s = step.batch, self._model, self._fixed_s
        members = self._members.setdefault(id(replica), _Members(self._model.serving.draft_tokens > 0))
        decoding = members.contexts()
        if len(decoding) != batch.decoding:  # not reached: every prompt that ends its prefill decodes
            raise RuntimeError(f"{len(decoding)} sequences are known to decode, not {batch.decoding}")
        decode_s = attention_s = prefill_s = 0.0
        if decoding:
            contexts = sum(context for _, context in decoding)
            decode_s = model.step(len(decoding), contexts).total_s - fixed_s
            attention_s = decode_s - (model.step(len(decoding), 0).total_s - fixed_s)
        if batch.chunks:
            alone = model.step(0, 0, prefill_tokens=batch.prefill_tokens, prefill_pairs=batch.prefill_pairs)
            prefill_s = alone.total_s - fixed_s
        chunks = [
            (s.id, n * (self._flop_per_token + self._flop_per_pair * (s.computed + n / 2)))
            for s, n in batch.chunks
        ]
        use = StepUse(step.end_s - step.start_s, decode_s, attention_s, prefill_s, decoding, chunks)
        self.time.add(use)
        members.after([sequence for sequence, _ in batch.chunks])


class _Members:
    """The decoding sequences of one replica and their contexts: the engine keeps only their sums."""

    def __init__(self, drafting: bool) -> None:
        self._drafting = drafting
        self._contexts: dict[int, tuple[Sequence, int]] = {}
        self._joining: list[Sequence] = []  # prompts of the step before

    def contexts(self) -> list[tuple[int, int]]:
        """(sequence, context) of those that decode in the step that is about to end."""
        decoding = State.DECODING
        self._contexts = {i: pair for i, pair in self._contexts.items() if pair[0].state is decoding}
        for sequence in self._joining:
            if sequence.state is decoding:
                self._contexts[sequence.id] = (sequence, sequence.prompt_tokens + sequence.generated)
        if self._drafting:
            return [(i, s.prompt_tokens + s.generated) for i, (s, _) in self._contexts.items()]
        return [(i, context) for i, (_, context) in self._contexts.items()]

    def after(self, prompts: list[Sequence]) -> None:
        """The step gives each a token; prompts: those that it prefilled."""
        self._contexts = {i: (s, context + 1) for i, (s, context) in self._contexts.items()}
        self._joining = prompts
