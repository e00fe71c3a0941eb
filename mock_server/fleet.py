"""Fleet: the models that are served, each with its replicas on the wall clock and the choice among them."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from mock_server.clock import EngineClock
from mock_server.model import Model
from mock_server.realtime import RealtimeReplica
from mock_server.telemetry import ReplicaTelemetry
from servebench.engine.router import Router, least_loaded


@dataclass(frozen=True, slots=True)
class Place:
    """A replica that serves."""

    realtime: RealtimeReplica
    telemetry: ReplicaTelemetry


class Fleet:
    """For one event loop. models is keyed by tier id."""

    def __init__(
        self, models: Mapping[str, Model], loop: asyncio.AbstractEventLoop, clock: EngineClock
    ) -> None:
        self._places: dict[str, tuple[Place, ...]] = {
            name: tuple(
                _place(replica_telemetry, loop, clock)
                for replica_telemetry in map(ReplicaTelemetry, model.replicas)
            )
            for name, model in models.items()
        }
        self._routers: dict[str, Router] = {name: least_loaded() for name in models}
        self._models = models

    @property
    def telemetry(self) -> dict[str, list[ReplicaTelemetry]]:
        return {name: [place.telemetry for place in places] for name, places in self._places.items()}

    def choose(self, model: Model, *, cache_key: str | None) -> Place:
        """Least loaded, or always the same one for the same cache key."""
        places = self._places[model.tier.id]
        if len(places) == 1:
            return places[0]
        if cache_key is not None:
            digest = blake2b(cache_key.encode(), digest_size=8).digest()
            return places[int.from_bytes(digest, "big") % len(places)]
        return places[self._routers[model.tier.id](model.replicas)]

    def places(self, model_id: str) -> Sequence[Place]:
        return self._places[model_id]

    def close(self) -> None:
        for places in self._places.values():
            for place in places:
                place.realtime.close()


def _place(telemetry: ReplicaTelemetry, loop: asyncio.AbstractEventLoop, clock: EngineClock) -> Place:
    return Place(RealtimeReplica(telemetry.replica, loop, telemetry.step, clock), telemetry)
