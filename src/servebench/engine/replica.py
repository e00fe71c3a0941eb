"""One replica: schedule -> step_time -> commit, with the clock as an argument.

Real time and virtual time drive it the same way: start_step(now) gives a step with its end; at that end
finish_step(step) hands out the tokens. One step is in flight at a time.
"""

from dataclasses import dataclass

import numpy as np

from servebench.catalog.hardware import Gpu
from servebench.catalog.tiers import Tier
from servebench.engine.batch import Batch
from servebench.engine.kv_cache import KvCache
from servebench.engine.noise import Lognormal
from servebench.engine.scheduler import Scheduler
from servebench.engine.sequence import Emission, Sequence
from servebench.engine.step_time import StepTimeModel

COASTING_BATCH = 8  # with more sequences something happens every few steps, and jumping gains nothing
COASTING_STEPS = 6  # fewer cost less one by one


@dataclass(frozen=True, slots=True)
class Step:
    """A step in flight. decode_s and prefill_s are its shares: what it would have lasted without the prompts,
    and what they added, noise included."""

    batch: Batch
    start_s: float
    end_s: float
    decode_s: float
    prefill_s: float


class Replica:
    """A tier on its GPUs. seed: of the step noise; give each replica of a fleet its own."""

    def __init__(self, tier: Tier, gpu: Gpu, *, seed: int = 0) -> None:
        serving = tier.serving
        if gpu.id != serving.gpu_id:
            raise ValueError(f"tier {tier.id} is profiled on {serving.gpu_id}, not {gpu.id}")
        self.tier, self.gpu = tier, gpu
        self.model = StepTimeModel(tier.shape, serving, gpu)
        blocks = self.model.kv_pool_tokens() // serving.block_tokens
        if blocks < 1:
            raise ValueError(
                f"tier {tier.id}: its weights leave no KV memory on {serving.gpus} x {serving.gpu_id}"
            )
        self.cache = KvCache(blocks, serving.block_tokens)
        self._scheduler = Scheduler(
            serving, self.cache, max_context_tokens=tier.context_length_tokens, seed=seed
        )
        self._step_noise = Lognormal(serving.step_noise_cv, seed=seed, stream=1)
        self._prefill_noise = Lognormal(serving.prefill_noise_cv, seed=seed, stream=2)
        self._fixed_s = self.model.step(0, 0).total_s
        self._in_flight: Step | None = None
        self.steps = 0
        self.busy_s = 0.0
        self.prompt_tokens = 0  # prefilled, recomputed ones included, cached ones not
        self.generated_tokens = 0

    @property
    def waiting_count(self) -> int:
        return self._scheduler.waiting_count

    @property
    def running_count(self) -> int:
        return self._scheduler.running_count

    @property
    def kv_usage(self) -> float:
        """Share of blocks held by running sequences; idle prefix cache counts as free."""
        return self.cache.used_blocks / self.cache.total_blocks

    @property
    def preemptions(self) -> int:
        return self._scheduler.preemptions

    @property
    def prefix_query_tokens(self) -> int:
        return self._scheduler.prefix_query_tokens

    @property
    def prefix_hit_tokens(self) -> int:
        return self._scheduler.prefix_hit_tokens

    def prefix_match_tokens(self, sequence: Sequence) -> int:
        """Leading tokens of its prompt that are in the cache now."""
        return self.cache.matching_blocks(sequence, sequence.prompt_tokens) * self.cache.block_tokens

    def submit(self, sequence: Sequence, *, now_s: float | None = None) -> None:
        """Queues a sequence, first ready, first served; ready no earlier than now_s (None: its arrival).

        Raises SequenceDoesNotFitError where it could never run, QueueFullError past max_queued_requests.
        """
        self._scheduler.submit(sequence, sequence.arrival_s if now_s is None else now_s)

    def require_fit(self, sequence: Sequence) -> None:
        """Raises SequenceDoesNotFitError where the sequence could never run here."""
        self._scheduler.require_fit(sequence)

    def cancel(self, sequence_id: int) -> bool:
        """Drops a sequence and frees its blocks at once, mid-step too; False where it isn't here."""
        return self._scheduler.cancel(sequence_id)

    def next_start_s(self, now_s: float) -> float | None:
        """The earliest time a step could start; None where there is nothing to do. Call between steps."""
        if self._scheduler.running_count:
            return now_s
        ready_s = self._scheduler.next_ready_s
        return None if ready_s is None else max(now_s, ready_s)

    def start_step(self, now_s: float) -> Step | None:
        """Schedules and times a step; None where nothing can run at now_s."""
        if self._in_flight is not None:
            raise RuntimeError("a step is in flight: finish it first")
        batch = self._scheduler.schedule(now_s)
        if batch is None:
            return None
        decode_s, prefill_s = self._duration_s(batch)
        step = Step(batch, now_s, now_s + decode_s + prefill_s, decode_s, prefill_s)
        self._in_flight = step
        return step

    def coast(self, now_s: float, until_s: float) -> float:
        """Takes as many quiet steps at once as end by until_s, and returns the end of the last (now_s for
        none).

        For virtual time between arrivals, where few sequences decode alone: the same steps, noise and times
        as start_step and finish_step would give, to the last bits, without their emissions.
        """
        scheduler = self._scheduler
        batch = scheduler.decoding_count
        if not 0 < batch <= COASTING_BATCH or self._in_flight is not None:
            return now_s
        ready_s = scheduler.next_ready_s
        if ready_s is not None:
            until_s = min(until_s, ready_s)
        steps = scheduler.quiet_steps() if until_s > now_s else 0
        if steps < COASTING_STEPS:
            return now_s
        context = scheduler.context_tokens
        first_s = self.model.step(batch, context).total_s
        growth_s = self.model.step(batch, context + batch).total_s - first_s  # affine in the context
        steps = min(steps, 1 + int((until_s - now_s) / first_s * 1.5)) if until_s < float("inf") else steps
        lasting_s = first_s + growth_s * np.arange(steps)
        ends_s = now_s + np.cumsum(lasting_s * self._step_noise.factors(scheduler.next_batch_index, steps))
        steps = int(np.searchsorted(ends_s, until_s, side="right"))
        if steps == 0:
            return now_s
        scheduler.coast(steps)
        end_s = float(ends_s[steps - 1])
        self.steps += steps
        self.busy_s += end_s - now_s
        self.generated_tokens += steps * batch
        return end_s

    def _duration_s(self, batch: Batch) -> tuple[float, float]:
        decoding = batch.decoding
        decode_s = self.model.step(decoding, batch.context_tokens).total_s if decoding else self._fixed_s
        prefill_s = 0.0
        if batch.prefill_tokens:
            fused_s = self.model.step(
                decoding,
                batch.context_tokens,
                prefill_tokens=batch.prefill_tokens,
                prefill_pairs=batch.prefill_pairs,
            ).total_s
            prefill_s = (fused_s - decode_s) * self._prefill_noise.factor(batch.index)
        return decode_s * self._step_noise.factor(batch.index), prefill_s

    def finish_step(self, step: Step, *, emit: bool = True) -> list[Emission]:
        """Commits a step at its end and returns what each sequence gained; cancelled ones gain nothing.

        emit False: nothing is listed, which spares a step its cost per sequence.
        """
        if step is not self._in_flight:
            raise RuntimeError("this step is not the one in flight")
        self._in_flight = None
        self.steps += 1
        self.busy_s += step.end_s - step.start_s
        self.prompt_tokens += step.batch.prefill_tokens
        tokens, emissions = self._scheduler.commit(step.batch, step.end_s, emit=emit)
        self.generated_tokens += tokens
        return emissions
