"""A scenario's traffic on a fleet in virtual time. Deterministic for a seed.

First calls arrive by the traffic's vector; a session's next call arrives a wait after the end of the one
before. Each goes where the router sends it.
"""

from collections.abc import Callable
from heapq import heappop, heappush

from servebench.catalog.hardware import Gpu
from servebench.catalog.tiers import Tier
from servebench.engine.disaggregation import Handover, Split
from servebench.engine.replica import Replica
from servebench.engine.sequence import QueueFullError, Sequence, SequenceDoesNotFitError
from servebench.plan.fleet import Fleet, Observe
from servebench.plan.simulated import Served, SimulationResult, result_of
from servebench.plan.traffic import Traffic

__all__ = ["SimulationResult", "simulate"]

_PROGRESS_EVERY = 2_000  # calls


def simulate(
    traffic: Traffic,
    *,
    tier: Tier,
    gpu: Gpu,
    replicas: int,
    split: Split | None = None,
    router: str = "least-loaded",
    seed: int = 0,
    warm_keys: tuple[int, ...] = (),
    stop_s: float = float("inf"),
    observe: Observe | None = None,
    on_progress: Callable[[float, float], None] | None = None,
) -> SimulationResult:
    """Runs all requests to their end. on_progress gets the share of first calls done, now and then, and the
    simulated time.

    split: each of `replicas` is a group of so many replicas that prefill and so many that decode.
    warm_keys: blocks that every prefix cache holds at the start. stop_s: a session's later calls that would
    arrive after it are not made. observe: sees each step before its tokens are handed out (and makes the
    simulation take every step singly).
    """
    if replicas < 1:
        raise ValueError(f"a fleet needs a replica, not {replicas}")
    whole = None if split is None else split.times(replicas)
    count, prefill = (replicas, replicas) if whole is None else (whole.replicas, whole.prefill)
    handover = None if whole is None else Handover(tier, gpu, prefill=prefill)
    made = [Replica(tier, gpu, seed=seed * 1_000_003 + i) for i in range(count)]
    fleet = Fleet(made, router, prefill=prefill, handover=handover, observe=observe)
    if warm_keys:
        fleet.warm(warm_keys)
    feed = _Feed(traffic, stop_s)
    fleet.watched = feed.watched
    while True:
        ended = fleet.run_until(feed.next_s)
        for sequence in ended:
            feed.follow(sequence)
        if ended:
            continue
        served = feed.next()
        if served is None:
            break
        try:
            fleet.submit(served.sequence)
        except (SequenceDoesNotFitError, QueueFullError):
            feed.refuse(served.sequence)
        if on_progress is not None and len(feed.served) % _PROGRESS_EVERY == 1:
            on_progress(feed.started / len(traffic), fleet.now_s)
    return result_of(
        feed.served,
        fleet.replicas,
        end_s=fleet.now_s,
        refused=feed.refused,
        peak_kv_usage=fleet.peak_kv_usage,
        session_calls=traffic.session_calls,
    )


class _Feed:
    """What arrives next: first calls from the vector, later calls from a heap that the ends of calls fill."""

    def __init__(self, traffic: Traffic, stop_s: float) -> None:
        self._traffic, self._stop_s = traffic, stop_s
        self._arrival_s = traffic.arrival_s.tolist()
        self._prompt, self._output = traffic.prompt_tokens.tolist(), traffic.output_tokens.tolist()
        self._keys = traffic.block_keys
        self._later: list[tuple[float, int, int, int]] = []  # time, tie, row, call
        self._of: dict[int, tuple[int, int]] = {}  # watched sequence -> row, call
        self.watched: dict[int, Sequence] = {}  # that another call follows
        self.served: list[Served] = []
        self.started = 0
        self.refused = 0

    @property
    def next_s(self) -> float:
        first_s = self._arrival_s[self.started] if self.started < len(self._arrival_s) else float("inf")
        return min(first_s, self._later[0][0]) if self._later else first_s

    def next(self) -> Served | None:
        """The next to arrive, as a sequence; None where nothing comes any more."""
        at_s = self.next_s
        if at_s == float("inf"):
            return None
        if self._later and self._later[0][0] == at_s:
            _, _, row, call = heappop(self._later)
        else:
            row, call = self.started, 0
            self.started += 1
        return self._submit(at_s, row, call)

    def follow(self, sequence: Sequence) -> None:
        """The call after this one, which has just ended."""
        assert sequence.finished_s is not None
        row, call = self._of.pop(sequence.id)
        del self.watched[sequence.id]
        at_s = sequence.finished_s + self._traffic.later(row)[call].wait_s
        sequence.block_keys = ()  # of a long session's calls they would fill the memory
        if at_s <= self._stop_s:
            heappush(self._later, (at_s, len(self.served), row, call + 1))

    def refuse(self, sequence: Sequence) -> None:
        """No replica can hold it, or its queue is full: its session ends."""
        self.refused += 1
        self.watched.pop(sequence.id, None)
        self._of.pop(sequence.id, None)

    def _submit(self, at_s: float, row: int, call: int) -> Served:
        number, later = len(self.served), self._traffic.later(row)
        if call == 0:
            keys = self._keys[row] if self._keys is not None else ()
            prompt, output = self._prompt[row], self._output[row]
        else:
            follow_up = later[call - 1]
            keys = self._traffic.keys_of(row, follow_up.prompt_tokens)
            prompt, output = follow_up.prompt_tokens, follow_up.output_tokens
        workload = self._traffic.workload_of(row)
        served = Served(Sequence(number, at_s, prompt, output, keys, workload), row, call)
        if call < len(later):
            self.watched[number] = served.sequence
            self._of[number] = (row, call)
        self.served.append(served)
        return served
