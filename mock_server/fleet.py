"""Fleet: the models that are served, each with its replicas on the wall clock and the choice among them."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import cast

from mock_server import refusals
from mock_server.admission import Admitted
from mock_server.clock import EngineClock
from mock_server.model import Model
from mock_server.realtime import RealtimeReplica
from mock_server.share import RemotePlace, Share
from mock_server.split import Decoders, SplitReplica
from mock_server.telemetry import ReplicaTelemetry
from servebench.engine.disaggregation import Handover
from servebench.engine.replica import Replica
from servebench.engine.router import ROUTERS, Router
from servebench.engine.sequence import Sequence as EngineSequence


def _nobody_asks() -> None:
    """One process: its routers look at the replicas themselves."""


@dataclass(slots=True)
class Place:
    """A replica that takes requests, or is down after a crash. serving: the handlers that wait for it."""

    index: int
    realtime: RealtimeReplica | SplitReplica
    telemetry: ReplicaTelemetry
    serving: "set[asyncio.Task[object]]" = field(default_factory=set)
    crashed: "set[asyncio.Task[object]]" = field(default_factory=set)  # those that are yet to hear of it
    publish: Callable[[], None] = _nobody_asks  # tells the other workers how busy it is

    @property
    def is_up(self) -> bool:
        return self.telemetry.is_up

    def crash(self, down_s: float) -> None:
        """Its sequences and cache are gone at once, the handlers are cancelled; it is down for down_s."""
        self.telemetry.up_at_s = max(self.telemetry.up_at_s, time.monotonic() + down_s)
        self.realtime.cancel_all()
        self.telemetry.replica.cache.forget()
        self.publish()
        self.crashed |= self.serving
        for task in self.serving:
            task.cancel()

    def crashed_under(self, task: "asyncio.Task[object] | None") -> bool:
        """True once for a handler that was cancelled by a crash."""
        if task is None or task not in self.crashed:
            return False
        self.crashed.discard(task)
        task.uncancel()
        return True


class Fleet:
    """For one event loop. models is keyed by tier id."""

    def __init__(
        self,
        models: Mapping[str, Model],
        loop: asyncio.AbstractEventLoop,
        clock: EngineClock,
        share: Share,
    ) -> None:
        self._share = share
        self.telemetry = {
            name: {
                index: ReplicaTelemetry(replica)
                for index, replica in enumerate(model.replicas)
                if share.owner(name, index) == share.worker
            }
            for name, model in models.items()
        }
        self._realtimes = {
            name: {index: _realtime(telemetry, loop, clock) for index, telemetry in rows.items()}
            for name, rows in self.telemetry.items()
        }
        self._places: dict[str, tuple[Place | RemotePlace, ...]] = {
            name: self._places_of(name, model) for name, model in models.items()
        }
        self._routers: dict[str, Router] = {name: ROUTERS[model.router]() for name, model in models.items()}

    def _places_of(self, name: str, model: Model) -> tuple[Place | RemotePlace, ...]:
        realtimes: Mapping[int, RealtimeReplica | SplitReplica] = self._realtimes[name]
        if model.split is not None:  # in one process
            tier, count, own = model.tier, model.entries, list(self._realtimes[name].values())
            handover = Handover(tier, model.replicas[0].gpu, prefill=count)
            decoders = Decoders(own[count:])
            realtimes = {
                index: SplitReplica(prefill, decoders, handover, index=index)
                for index, prefill in enumerate(own[:count])
            }
        return tuple(
            self._own_place(name, index, realtimes[index])
            if index in realtimes
            else self._remote_place(name, index)
            for index in range(model.entries)
        )

    def _own_place(self, name: str, index: int, realtime: RealtimeReplica | SplitReplica) -> Place:
        share, telemetry = self._share, self.telemetry[name][index]
        place = Place(index, realtime, telemetry)
        if share.workers > 1:
            slot, replica = share.slot(name, index), telemetry.replica

            def publish() -> None:
                share.loads.put(
                    slot,
                    waiting=replica.waiting_count,
                    running=replica.running_count,
                    up_at_s=telemetry.up_at_s,
                )

            place.publish = telemetry.after_step = publish
        return place

    def _remote_place(self, name: str, index: int) -> RemotePlace:
        share = self._share
        return RemotePlace(index, share.owner(name, index), share.slot(name, index), share.loads)

    def choose(self, model: Model, admitted: Admitted, *, cache_key: str | None) -> Place | RemotePlace:
        """By the model's router among those that are up, or always the same one for the same cache key while
        it is up. Raises RefusalError where none is.
        """
        places: Sequence[Place | RemotePlace] = self._places[model.tier.id]
        if not all(place.is_up for place in places):
            places = [place for place in places if place.is_up]
            if not places:
                raise refusals.at_capacity(503)
        if len(places) == 1:
            return places[0]
        if cache_key is not None:
            digest = blake2b(cache_key.encode(errors="surrogateescape"), digest_size=8).digest()
            return places[int.from_bytes(digest, "big") % len(places)]
        sequence = None
        if model.router == "prefix-aware":
            sequence = EngineSequence(-1, 0.0, admitted.prompt_tokens, 1, admitted.block_keys)
        loads = [place if isinstance(place, RemotePlace) else place.telemetry.replica for place in places]
        # routers that look into caches are not for several workers: see serve
        return places[self._routers[model.tier.id](cast("list[Replica]", loads), sequence)]

    def places(self, model_id: str) -> Sequence[Place]:
        """This worker's."""
        return [place for place in self._places[model_id] if isinstance(place, Place)]

    def realtimes(self, model_id: str) -> Mapping[int, RealtimeReplica]:
        """This worker's by index, those that take no requests too."""
        return self._realtimes[model_id]

    def close(self) -> None:
        for realtimes in self._realtimes.values():
            for realtime in realtimes.values():
                realtime.close()


def _realtime(
    telemetry: ReplicaTelemetry, loop: asyncio.AbstractEventLoop, clock: EngineClock
) -> RealtimeReplica:
    realtime = RealtimeReplica(telemetry.replica, loop, telemetry.step, clock)
    telemetry.read_power_watts = lambda: realtime.power_watts
    return realtime
