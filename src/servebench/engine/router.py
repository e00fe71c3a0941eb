"""Which replica gets the next sequence. A router sees the replicas' queues and caches, never the future."""

import collections.abc
from collections.abc import Callable
from typing import Protocol

from servebench.engine.replica import Replica
from servebench.engine.sequence import Sequence

SLACK = 4  # sequences by which a replica may be busier than the least loaded one and still be chosen
SLACK_SHARE = 0.5  # and the share of that one's load


class Router(Protocol):
    """Chooses the index of a replica. sequence: who is to be placed; None: anybody."""

    def __call__(
        self, replicas: collections.abc.Sequence[Replica], sequence: Sequence | None = None
    ) -> int: ...


def least_loaded() -> Router:
    """Fewest waiting, then fewest running; of equals the one after the last choice, so none is favoured."""
    last = -1

    def choose(replicas: collections.abc.Sequence[Replica], sequence: Sequence | None = None) -> int:
        nonlocal last
        count = len(replicas)
        order = (range(last + 1, last + 1 + count)) if count > 1 else (0,)
        last = min(
            (i % count for i in order), key=lambda i: (replicas[i].waiting_count, replicas[i].running_count)
        )
        return last

    return choose


def round_robin() -> Router:
    """Each in turn, whatever its load."""
    last = -1

    def choose(replicas: collections.abc.Sequence[Replica], sequence: Sequence | None = None) -> int:
        nonlocal last
        last = (last + 1) % len(replicas)
        return last

    return choose


def prefix_aware() -> Router:
    """The longest cached beginning among replicas that are not much busier than the least loaded one; the
    least loaded where no cache helps more than another."""
    fallback = least_loaded()

    def choose(replicas: collections.abc.Sequence[Replica], sequence: Sequence | None = None) -> int:
        if sequence is None or not sequence.block_keys:
            return fallback(replicas)
        loads = [replica.waiting_count + replica.running_count for replica in replicas]
        most = min(loads) * (1 + SLACK_SHARE) + SLACK
        allowed = [i for i, load in enumerate(loads) if load <= most]
        matched = [replicas[i].prefix_match_tokens(sequence) for i in allowed]
        best = max(matched)
        equals = [i for i, tokens in zip(allowed, matched, strict=True) if tokens == best]
        return equals[fallback([replicas[i] for i in equals])]

    return choose


ROUTERS: dict[str, Callable[[], Router]] = {
    "least-loaded": least_loaded,
    "round-robin": round_robin,
    "prefix-aware": prefix_aware,
}
