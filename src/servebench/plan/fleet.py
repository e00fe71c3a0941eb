"""Replicas in virtual time under one heap of events: the end of a step, or the moment a replica may start
one.
"""

from collections.abc import Callable
from heapq import heappop, heappush

from servebench.engine.disaggregation import Handover
from servebench.engine.replica import Replica, Step
from servebench.engine.router import ROUTERS, least_loaded
from servebench.engine.sequence import QueueFullError, Sequence, SequenceDoesNotFitError

Observe = Callable[[Replica, Step], None]
_BEFORE_S = -1e6  # when caches are warmed


class Fleet:
    """With a handover the first `prefill` replicas prefill and the rest decode.

    watched: sequences by id whose end the caller wants to know. observe: sees each step before its tokens are
    handed out.
    """

    def __init__(
        self,
        replicas: list[Replica],
        router: str,
        *,
        prefill: int,
        handover: Handover | None,
        observe: Observe | None,
    ) -> None:
        self.replicas = replicas
        self.watched: dict[int, Sequence] = {}
        self._observe = observe
        self._entry, self._decoders = replicas[:prefill], replicas[prefill:]
        self._handover = handover
        self._choose, self._choose_decoder = ROUTERS[router](), least_loaded()
        self._events: list[tuple[float, int, int]] = []
        self._ties = 0
        self._steps: list[Step | None] = [None] * len(replicas)
        self._due_s: list[float | None] = [None] * len(replicas)  # of its event that holds; others are stale
        self._finish_s = [float("inf")] * len(replicas)  # before which nothing ends there
        self.now_s = 0.0
        self.peak_kv_usage = 0.0

    def submit(self, sequence: Sequence) -> None:
        """Raises SequenceDoesNotFitError or QueueFullError."""
        if self._handover is not None:
            self._decoders[0].require_fit(sequence)
            sequence = self._handover.begin(sequence)
        index = self._choose(self._entry, sequence)
        try:
            self._enter(index, sequence, sequence.arrival_s)
        except (SequenceDoesNotFitError, QueueFullError):
            if self._handover is not None:
                self._handover.cancel(sequence.id)
            raise

    def run_until(self, limit_s: float) -> list[Sequence]:
        """All events before limit_s; or up to the first step in which watched sequences end: these."""
        events, due_s = self._events, self._due_s
        while events and events[0][0] < limit_s:
            now_s, _, index = heappop(events)
            if due_s[index] != now_s:
                continue
            due_s[index] = None
            step, ended = self._steps[index], []
            if step is not None:
                ended = self._finish(index, step)
            if not ended:
                running = self.replicas[index].running_count
                now_s = self._coast(index, now_s, limit_s)
                ended = self._ended(index, running)
            self._begin(index, now_s)
            self.now_s = max(self.now_s, now_s)
            if ended:
                return ended
        return []

    def warm(self, keys: tuple[int, ...]) -> None:
        """Puts the blocks of these keys into every prefix cache of prompts, and leaves no other trace."""
        for replica in self._entry:
            tokens = len(keys) * replica.cache.block_tokens + 1
            replica.submit(Sequence(-1, _BEFORE_S, tokens, 1, keys))
            now_s = _BEFORE_S
            while (start_s := replica.next_start_s(now_s)) is not None:
                step = replica.start_step(start_s)
                if step is None:
                    break
                replica.finish_step(step)
                now_s = step.end_s
            replica.steps = replica.prompt_tokens = replica.generated_tokens = 0
            replica.busy_s = 0.0

    def _finish(self, index: int, step: Step) -> list[Sequence]:
        self._steps[index] = None
        replica = self.replicas[index]
        self.peak_kv_usage = max(self.peak_kv_usage, replica.kv_usage)
        if self._observe is not None:
            self._observe(replica, step)
        running = replica.running_count
        prefills = self._handover is not None and index < len(self._entry)
        emissions = replica.finish_step(step, emit=prefills)
        if self._handover is not None and prefills:
            for emission in emissions:
                sequence = self._handover.end(emission.sequence, index, step.end_s)
                if sequence is not None:
                    decoder = len(self._entry) + self._choose_decoder(self._decoders, sequence)
                    self._enter(decoder, sequence, step.end_s)
        return self._ended(index, running)

    def _ended(self, index: int, running: int) -> list[Sequence]:
        """The watched ones that have, on a replica which ran so many before."""
        if not self.watched or self.replicas[index].running_count == running:
            return []
        return [sequence for sequence in self.watched.values() if sequence.finished_s is not None]

    def _coast(self, index: int, now_s: float, limit_s: float) -> float:
        if self._observe is not None:
            return now_s
        replica = self.replicas[index]
        if self._handover is not None and self._events:
            # a decode replica may get a sequence at the end of any other's step: no jump past the next event
            limit_s = min(limit_s, self._events[0][0])
        if self.watched and len(self.replicas) > 1:
            # the call after a session's may come as soon as that ends elsewhere, and looks at this one's load
            self._finish_s[index] = float("inf")
            limit_s = min(limit_s, *self._finish_s)
        return replica.coast(now_s, limit_s, to_next_finish=bool(self.watched))

    def _enter(self, index: int, sequence: Sequence, now_s: float) -> None:
        self.replicas[index].submit(sequence, now_s=now_s)
        if self._steps[index] is None:
            self._begin(index, now_s)
        else:
            self._foresee(index)

    def _begin(self, index: int, now_s: float) -> None:
        replica = self.replicas[index]
        at_s = replica.next_start_s(now_s)
        if at_s is None:
            self._finish_s[index] = float("inf")
            return
        if at_s <= now_s:
            step = self._steps[index] = replica.start_step(now_s)
            if step is None:  # not reached: what may start now and fits an empty replica starts
                raise RuntimeError("a replica with work did not start a step")
            at_s = step.end_s
        self._ties += 1
        self._due_s[index] = at_s
        heappush(self._events, (at_s, self._ties, index))
        self._foresee(index)

    def _foresee(self, index: int) -> None:
        due_s = self._due_s[index]
        if self.watched and due_s is not None:
            self._finish_s[index] = self.replicas[index].earliest_finish_s(due_s)
