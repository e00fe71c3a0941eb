"""The queue of sequences that wait to run: by the moment they are ready, preempted ones before all."""

from collections import deque

from servebench.engine.sequence import QueueFullError, Sequence


class WaitingQueue:
    """limit: sequences that may wait at once (None: any number); preempted ones come back whatever it is.

    queue: to look at.
    """

    def __init__(self, limit: int | None) -> None:
        self.queue: deque[Sequence] = deque()
        self._limit = limit

    def __len__(self) -> int:
        return len(self.queue)

    @property
    def head(self) -> Sequence | None:
        return self.queue[0] if self.queue else None

    def push(self, sequence: Sequence) -> None:
        """Behind all that are ready no later. Raises QueueFullError, but to none that comes prefilled."""
        queue = self.queue
        if self._limit is not None and len(queue) >= self._limit and not sequence.prefilled:
            raise QueueFullError(f"sequence {sequence.id}: {len(queue)} are waiting, the most there may be")
        place = len(queue)
        while place and queue[place - 1].ready_s > sequence.ready_s:  # rare: one that took long to come in
            place -= 1
        if place == len(queue):
            queue.append(sequence)
        else:
            queue.insert(place, sequence)

    def push_front(self, sequence: Sequence) -> None:
        self.queue.appendleft(sequence)

    def pop(self) -> Sequence:
        return self.queue.popleft()

    def remove(self, sequence: Sequence) -> None:
        self.queue.remove(sequence)
