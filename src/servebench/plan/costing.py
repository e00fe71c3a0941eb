"""Whose GPU time a simulated run was: sees every step of the replicas and hands its seconds to
cost.allocation.

A prompt token's FLOP: 2 P_act, and f_p for each position before it.
"""

from servebench.catalog.hardware import Gpu
from servebench.catalog.tiers import Tier
from servebench.cost.allocation import GpuTime, StepUse
from servebench.engine.replica import Replica, Step
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

    def __call__(self, replica: Replica, step: Step) -> None:
        batch, model, fixed_s = step.batch, self._model, self._fixed_s
        decode_s = attention_s = prefill_s = 0.0
        if batch.decoding:
            decode_s = model.step(len(batch.decoding), batch.context_tokens).total_s - fixed_s
            attention_s = decode_s - (model.step(len(batch.decoding), 0).total_s - fixed_s)
        if batch.chunks:
            alone = model.step(0, 0, prefill_tokens=batch.prefill_tokens, prefill_pairs=batch.prefill_pairs)
            prefill_s = alone.total_s - fixed_s
        chunks = [
            (s.id, n * (self._flop_per_token + self._flop_per_pair * (s.computed + n / 2)))
            for s, n in batch.chunks
        ]
        decoding = [(s.id, s.prompt_tokens + s.generated) for s in batch.decoding]
        use = StepUse(step.end_s - step.start_s, decode_s, attention_s, prefill_s, decoding, chunks)
        self.time.add(use)
