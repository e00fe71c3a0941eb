"""Crashes: replicas that go down, at set times and by request, and come back cold."""

import asyncio
import time
from collections.abc import Mapping

from mock_server.fleet import Fleet, Place
from mock_server.gate import Gate
from mock_server.journal import Entry


class Crashes:
    """names: a model id's own and its aliases, by id."""

    def __init__(
        self, gate: Gate, fleet: Fleet, names: Mapping[str, frozenset[str]], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._gate, self._fleet, self._names, self._loop = gate, fleet, names, loop
        self._planned: list[asyncio.TimerHandle] = []
        self.plan()

    def plan(self) -> None:
        """Those of the document in force, in place of those of the one before."""
        for handle in self._planned:
            handle.cancel()
        self._planned = [
            self._loop.call_later(at_s - time.monotonic(), self.crash, place, rule.down_s)
            for at_s, rule in self._gate.faults.crashes()
            for model, names in self._names.items()
            if not rule.models or not names.isdisjoint(rule.models)
            for place in self._fleet.places(model)
            if place.index == rule.replica
        ]

    def crash(self, place: Place, down_s: float, entry: Entry | None = None) -> None:
        """entry: of the request that brought it about."""
        self._gate.note(entry, "replica_crash")
        place.crash(down_s)
