"""One replica: schedule -> step_time -> commit, with the clock as an argument.

Real time and virtual time drive it the same way: start_step(now) gives a step with its end; at that end
finish_step(step) hands out the tokens. One step is in flight at a time.
"""

from typing import NamedTuple

import numpy as np

from servebench.catalog.hardware import Gpu
from servebench.catalog.tiers import Tier
from servebench.engine.batch import Batch
from servebench.engine.kv_cache import KvCache
from servebench.engine.noise import Lognormal
from servebench.engine.scheduler import Scheduler
from servebench.engine.sequence import Emission, Sequence
from servebench.engine.step_time import StepTimeModel

JUMPED_STEPS = 12  # quiet steps; fewer cost less one by one
MOST_JUMPED = 1024
PACE_TOKENS = 1_000_000  # context at which the growth of a step is measured


class Step(NamedTuple):
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
        self._shortest_s = self.model.step(1, 0).total_s * self._step_noise.lowest
        self._in_flight: Step | None = None
        self._drafting = serving.draft_tokens > 0
        self._paces: dict[int, tuple[float, float]] = {}  # by batch
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

    def coast(self, now_s: float, until_s: float, *, to_next_finish: bool = False) -> float:
        """Takes the steps of mere decoding that end by until_s, up to the first that a prompt could join, and
        returns the end of the last (now_s for none). to_next_finish: nor any after one in which a sequence
        ends.

        For virtual time between arrivals: the same steps, noise, times and ends of sequences as start_step
        and finish_step would give, to the last bits, without emissions and at a fraction of the cost.
        """
        scheduler, noise = self._scheduler, self._step_noise
        if self._drafting or self._in_flight is not None:
            return now_s
        while scheduler.only_decodes(now_s):
            batch = scheduler.decoding_count
            if not batch:
                break
            first_s, growth_s = self._pace(batch)
            lasts_s = first_s + growth_s * scheduler.context_tokens
            quiet = scheduler.quiet_steps()
            if quiet >= JUMPED_STEPS:
                jumped_s = self._jump(now_s, until_s, min(quiet, MOST_JUMPED), lasts_s, growth_s * batch)
                if jumped_s > now_s:
                    now_s = jumped_s
                    continue
            end_s = now_s + lasts_s * noise.factor(scheduler.next_batch_index)
            if end_s > until_s:
                break
            scheduler.decode_step(end_s)
            self.steps += 1
            self.busy_s += end_s - now_s
            self.generated_tokens += batch
            now_s = end_s
            if to_next_finish and scheduler.decoding_count < batch:
                break
        return now_s

    def earliest_finish_s(self, due_s: float) -> float:
        """Before this none that is here now ends, even by steps of the shortest kind and noise of six sigma.

        due_s: the end of the step in flight, or when one may start.
        """
        return due_s + (self._scheduler.steps_to_finish() - 1) * self._shortest_s

    def _pace(self, batch: int) -> tuple[float, float]:
        """Seconds of a decode step without context, and for each token of it: affine, for a batch."""
        pace = self._paces.get(batch)
        if pace is None:
            first_s = self.model.step(batch, 0).total_s
            growth_s = (self.model.step(batch, PACE_TOKENS).total_s - first_s) / PACE_TOKENS
            pace = self._paces[batch] = (first_s, growth_s)
        return pace

    def _jump(self, now_s: float, until_s: float, steps: int, lasts_s: float, growth_s: float) -> float:
        """As many of the quiet steps as end by until_s, and start before the next prompt is ready, at once.

        lasts_s: of the first; each lasts growth_s longer than the one before.
        """
        scheduler = self._scheduler
        ready_s = scheduler.next_ready_s
        if ready_s is not None and ready_s > now_s:
            until_s = min(until_s, ready_s)
        if until_s < float("inf"):
            steps = min(steps, 1 + int((until_s - now_s) / lasts_s * 1.5))
        each_s = lasts_s + growth_s * np.arange(steps)
        ends_s = now_s + np.cumsum(each_s * self._step_noise.factors(scheduler.next_batch_index, steps))
        steps = int(np.searchsorted(ends_s, until_s, side="right"))
        if steps == 0:
            return now_s
        end_s = float(ends_s[steps - 1])
        self.steps += steps
        self.busy_s += end_s - now_s
        self.generated_tokens += steps * scheduler.decoding_count
        scheduler.coast(steps)
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
            prefill_s = (fused_s - decode_s) * self._prefill_noise.factor(batch.number)
        return decode_s * self._step_noise.factor(batch.number), prefill_s

    def foreseen(self) -> list[Emission]:
        """The emissions of the step that has just begun, in their order: of one token each, and sure but for
        sequences that are cancelled before its end. What drafts bring is random, and not among them."""
        return [] if self._in_flight is None else self._scheduler.foreseen(self._in_flight.batch)

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
