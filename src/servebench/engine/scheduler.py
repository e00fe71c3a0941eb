"""Continuous batching with chunked prefill: who runs in the next step, and what the step leaves behind.

Decoding sequences go first, one token (and its drafts) each; what is left of max_num_batched_tokens goes to
prompts in order of admission, in chunks. A prompt's blocks are all taken at admission; a decode that finds no
block preempts the last admitted sequence, which starts over (recompute) at the head of the queue. A sequence
that comes prefilled joins the batch as soon as it has its blocks. The words are vLLM's.
"""

from typing import NamedTuple

from servebench.catalog.tiers import ServingProfile
from servebench.engine.batch import Batch
from servebench.engine.decoding import make_decoding
from servebench.engine.growth import Growth
from servebench.engine.kv_cache import KvCache
from servebench.engine.sequence import Emission, Sequence, State
from servebench.engine.waiting import WaitingQueue

# of the pool, kept free at admission while others run, as vLLM does, against preempting at once
WATERMARK = 0.01
_LOOKED_AT = 32  # that wait, to say when the first of them could end


class Committed(NamedTuple):
    """What a step made. emissions: where asked for."""

    tokens: int
    emissions: list[Emission]


class Scheduler:
    """Queues `waiting` and `running` (prefilling and decoding) over one KV cache."""

    def __init__(
        self, serving: ServingProfile, cache: KvCache, *, max_context_tokens: int, seed: int = 0
    ) -> None:
        self._drafts = serving.draft_tokens
        if serving.max_num_batched_tokens < serving.max_num_seqs * (1 + self._drafts):
            raise ValueError("max_num_batched_tokens must hold one decode step of max_num_seqs sequences")
        self._serving, self.cache = serving, cache
        self._max_context_tokens = max_context_tokens
        self._waiting = WaitingQueue(serving.max_queued_requests)
        self._prefilling: list[Sequence] = []
        self._decoding = make_decoding(serving, seed=seed)
        self._members = self._decoding.members
        self._growth = Growth(cache, drafts=self._drafts)
        self._live: dict[int, Sequence] = {}
        self._admissions = 0
        self._batches = 0
        self._cancelled_in_flight = False
        self.preemptions = 0
        self.prefix_query_tokens = 0
        self.prefix_hit_tokens = 0

    @property
    def waiting_count(self) -> int:
        return len(self._waiting.queue)

    @property
    def running_count(self) -> int:
        return len(self._prefilling) + len(self._members)

    @property
    def next_ready_s(self) -> float | None:
        """When the head of the queue may run; None for an empty queue."""
        head = self._waiting.head
        return None if head is None else head.ready_s

    @property
    def decoding_count(self) -> int:
        return len(self._members)

    @property
    def context_tokens(self) -> int:
        """Sum over the decoding sequences, the token being fed included."""
        return self._decoding.context_tokens

    @property
    def next_batch_index(self) -> int:
        return self._batches

    def require_fit(self, sequence: Sequence) -> None:
        """Raises SequenceDoesNotFitError where it could never finish here."""
        sequence.require_fit(
            window_tokens=self._max_context_tokens,
            pool_tokens=self.cache.total_blocks * self.cache.block_tokens,
        )

    def submit(self, sequence: Sequence, now_s: float) -> None:
        """Queues a sequence, ready no earlier than now_s. Raises SequenceDoesNotFitError, QueueFullError."""
        self.require_fit(sequence)
        if sequence.state is not State.NEW or sequence.id in self._live:
            raise ValueError(f"sequence {sequence.id} was submitted before")
        floor_s = sequence.ready_s if sequence.prefilled else sequence.arrival_s + self._serving.ttft_floor_s
        sequence.ready_s = max(floor_s, now_s)
        self._waiting.push(sequence)
        sequence.prefill_target = sequence.prompt_tokens
        sequence.state = State.WAITING
        sequence.block_keys = sequence.block_keys[: sequence.prompt_tokens // self._serving.block_tokens]
        self._live[sequence.id] = sequence

    def cancel(self, sequence_id: int) -> bool:
        """Drops a sequence at once and frees its blocks, mid-step too; False where it isn't here."""
        sequence = self._live.get(sequence_id)
        if sequence is None:
            return False
        if sequence.state is State.WAITING:
            self._waiting.remove(sequence)
        else:
            self._leave(sequence)
            self._cancelled_in_flight = True
        self._retire(sequence, State.CANCELLED)
        return True

    def schedule(self, now_s: float) -> Batch | None:
        """The next step's batch; None where nothing can run yet."""
        preempted = self._growth.serve(self._decoding, self._preempt) if self._growth.needing else False
        each = 1 + self._drafts
        budget = self._serving.max_num_batched_tokens - len(self._members) * each
        chunks: list[tuple[Sequence, int]] = []
        for sequence in self._prefilling:
            if budget <= 0:
                break
            chunk = min(budget, sequence.prefill_target - sequence.computed)
            chunks.append((sequence, chunk))
            budget -= chunk
        while not preempted and (admitted := self._admit(now_s, budget)) is not None:
            if admitted.state is State.DECODING:
                budget -= each
                continue
            chunk = min(budget, admitted.prefill_target - admitted.computed)
            chunks.append((admitted, chunk))
            budget -= chunk
        if not self._members and not chunks:
            return None
        self._cancelled_in_flight = False
        self._batches += 1
        return Batch(
            self._batches - 1,
            len(self._members),
            self._decoding.context_tokens,
            chunks,
            sum([chunk for _, chunk in chunks]) if chunks else 0,
            sum([chunk * (s.computed + chunk / 2) for s, chunk in chunks]) if chunks else 0.0,
        )

    def commit(self, batch: Batch, end_s: float, *, emit: bool) -> Committed:
        """Gives every sequence of the batch its tokens; finished ones leave. Cancelled ones are skipped."""
        tokens, emissions = self._decode(end_s, emit=emit)
        chunks = batch.chunks
        if self._cancelled_in_flight:
            chunks = [(s, n) for s, n in chunks if s.state is State.PREFILLING]
        for sequence, chunk in chunks:
            sequence.computed += chunk
            if sequence.block_keys:
                self.cache.share(sequence)
            if sequence.computed == sequence.prefill_target:
                emission = self._first_token(sequence, end_s)
                tokens += 1
                if emit:
                    emissions.append(emission)
        return Committed(tokens, emissions)

    def only_decodes(self, now_s: float) -> bool:
        """Would a step at now_s be of the decoding sequences alone, with blocks for all? Takes the blocks."""
        if self._prefilling:
            return False
        head = self._waiting.head
        if head is not None and head.ready_s <= now_s and self.running_count < self._serving.max_num_seqs:
            return False
        if self._growth.needing:
            if not self._growth.enough:
                return False
            self._growth.serve(self._decoding, self._preempt)
        return True

    def decode_step(self, end_s: float) -> None:
        """A step of decoding alone, which ends at end_s; nobody is told of its tokens."""
        self._batches += 1
        self._decode(end_s, emit=False)

    def quiet_steps(self) -> int:
        """Steps of the same sequences after which none ends or needs a block; 0 with drafts, which are
        random."""
        return self._decoding.quiet_steps()

    def foreseen(self, batch: Batch) -> list[Emission]:
        """What this batch's commit will emit for sure, of all that are not cancelled before."""
        emissions = self._decoding.foreseen()
        for sequence, chunk in batch.chunks:
            if sequence.computed + chunk == sequence.prefill_target:
                made = sequence.generated
                emissions.append(Emission(sequence, 1, made == 0, made + 1 == sequence.output_tokens))
        return emissions

    def coast(self, steps: int) -> None:
        """So many quiet steps at once."""
        self._decoding.coast(steps)
        self._batches += steps

    def steps_to_finish(self) -> int:
        """Steps from now on, at least 1, before which none that is here now ends."""
        queue = self._waiting.queue
        if len(queue) > _LOOKED_AT:
            return 1
        fewest = [s.output_tokens - s.generated for s in (*self._prefilling, *queue)]
        if self._members:
            fewest.append(self._decoding.steps_to_finish())
        return max(1, min(fewest, default=1))

    def _decode(self, end_s: float, *, emit: bool) -> Committed:
        tokens, due, emissions = self._decoding.step(emit=emit)
        for sequence in due:
            if sequence.generated == sequence.output_tokens:
                self._finish(sequence, end_s)
            else:
                self._growth.needing.append(sequence)
        return Committed(tokens, emissions)

    def _first_token(self, sequence: Sequence, end_s: float) -> Emission:
        """The end of a prefill brings a token: the first one, or after a preemption the next one."""
        first = sequence.generated == 0
        sequence.generated += 1
        if first:
            sequence.first_token_s = end_s
        self._prefilling.remove(sequence)
        finished = sequence.generated == sequence.output_tokens
        if finished:
            sequence.finished_s = end_s
            self._retire(sequence, State.FINISHED)
        else:
            self._start_decoding(sequence)
            if sequence.generated >= sequence.next_event:
                self._growth.needing.append(sequence)
        return Emission(sequence, 1, first, finished)

    def _start_decoding(self, sequence: Sequence) -> None:
        sequence.state = State.DECODING
        self._growth.plan(sequence)
        self._decoding.join(sequence)

    def _admit(self, now_s: float, budget: int) -> Sequence | None:
        sequence = self._waiting.head
        if sequence is None or sequence.ready_s > now_s or self.running_count >= self._serving.max_num_seqs:
            return None
        if budget < (1 + self._drafts if sequence.prefilled else 1):
            return None
        keep_free = int(WATERMARK * self.cache.total_blocks) if self.running_count else 0
        if not self.cache.admit(sequence, self._growth.tokens_to_hold(sequence), keep_free=keep_free):
            return None
        self._waiting.pop()
        sequence.admission = self._admissions
        self._admissions += 1
        if sequence.prefilled:
            sequence.prefilled = False  # preempted, it is computed again here
            self._start_decoding(sequence)
            return sequence
        sequence.state = State.PREFILLING
        self._prefilling.append(sequence)
        if sequence.admitted_s is None:
            sequence.admitted_s = now_s
            sequence.cached_tokens = sequence.computed
            self.prefix_query_tokens += sequence.prompt_tokens
            self.prefix_hit_tokens += sequence.computed
        return sequence

    def _preempt(self) -> None:
        victim = max([*self._prefilling, *self._members.values()], key=lambda s: s.admission)
        self._leave(victim)
        self.cache.release(victim)
        victim.prefill_target = victim.prompt_tokens + victim.generated
        victim.state = State.WAITING
        victim.preemptions += 1
        self.preemptions += 1
        self._waiting.push_front(victim)

    def _finish(self, sequence: Sequence, end_s: float) -> None:
        sequence.finished_s = end_s
        self._leave(sequence)
        self._retire(sequence, State.FINISHED)

    def _leave(self, sequence: Sequence) -> None:
        if sequence.state is State.DECODING:
            self._decoding.leave(sequence)
        else:
            self._prefilling.remove(sequence)

    def _retire(self, sequence: Sequence, state: State) -> None:
        sequence.state = state
        del sequence.steady  # breaks the cycle, so that memory goes at once
        self.cache.release(sequence)
        del self._live[sequence.id]
