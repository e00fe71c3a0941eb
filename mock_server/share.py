"""Share: which of a mock's replicas are this worker's, and how busy the others' are."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mock_server.loads import Loads
from mock_server.model import Model


@dataclass(frozen=True, slots=True)
class Share:
    """Replicas are dealt out in order over all models: slot i is worker i % workers'."""

    worker: int
    workers: int
    first_slot: Mapping[str, int]  # by model id
    loads: Loads

    def slot(self, model: str, index: int) -> int:
        return self.first_slot[model] + index

    def owner(self, model: str, index: int) -> int:
        return self.slot(model, index) % self.workers


def shares(models: Iterable[Model], workers: int) -> list[Share]:
    """One for each worker; made before they part."""
    first_slot, count = {}, 0
    for model in models:
        first_slot[model.tier.id] = count
        count += len(model.replicas)
    loads = Loads(count)
    return [Share(worker, workers, first_slot, loads) for worker in range(workers)]


@dataclass(frozen=True, slots=True)
class RemotePlace:
    """Another worker's replica, as a router sees it."""

    index: int
    owner: int
    slot: int
    loads: Loads

    @property
    def waiting_count(self) -> int:
        return self.loads.waiting(self.slot)

    @property
    def running_count(self) -> int:
        return self.loads.running(self.slot)

    @property
    def is_up(self) -> bool:
        return self.loads.up_at_s(self.slot) <= time.monotonic()
