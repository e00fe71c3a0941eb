"""Which replica gets the next sequence. A router sees the replicas' queues, never the future."""

from collections.abc import Callable, Sequence

from servebench.engine.replica import Replica

Router = Callable[[Sequence[Replica]], int]  # replicas -> index of the one to submit to


def least_loaded() -> Router:
    """Fewest waiting, then fewest running; of equals the one after the last choice, so none is favoured."""
    last = -1

    def choose(replicas: Sequence[Replica]) -> int:
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

    def choose(replicas: Sequence[Replica]) -> int:
        nonlocal last
        last = (last + 1) % len(replicas)
        return last

    return choose


ROUTERS: dict[str, Callable[[], Router]] = {"least-loaded": least_loaded, "round-robin": round_robin}
