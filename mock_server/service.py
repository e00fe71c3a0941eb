"""Service: what all endpoints stand on. Keys, models, replicas, admission off the loop, the ledger."""

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from aiohttp import web

from mock_server import refusals, wire
from mock_server.admission import Admitted, AdmittedResponse, ServedTier, admit, admit_response
from mock_server.body import Body, read_body
from mock_server.body_reader import BodyReader
from mock_server.choices import (
    KEY_AT_CAPACITY,
    KEY_AT_ITS_LIMIT,
    KEY_UNSAFE,
    KEY_WITHOUT_CREDITS,
    OFF_LOOP_BYTES,
    REMEMBERED_BODIES,
    REMEMBERED_BODY_BYTES,
    RETRY_AFTER_S,
    TOKENIZED_ON_LOOP_BYTES,
)
from mock_server.clock import EngineClock
from mock_server.counts import MockCounts, replica_counts_of
from mock_server.crashes import Crashes
from mock_server.fault_rules import MockConfig
from mock_server.fleet import Fleet, Place
from mock_server.gate import Gate, SharedTables
from mock_server.handover import HandOver, HandOverError
from mock_server.journal import Entry
from mock_server.model import Model
from mock_server.peers import Answer, Peers
from mock_server.rate_limits import Allowance
from mock_server.reply import Reply
from mock_server.response_request import Turn
from mock_server.share import RemotePlace, Share
from mock_server.telemetry import Ledger
from mock_server.tokenization import token_list
from servebench.engine.sequence import Sequence as EngineSequence
from servebench.engine.speculation import TOOLS


class Service:
    """For one event loop. keys empty: any key is taken."""

    def __init__(
        self,
        models: Sequence[Model],
        loop: asyncio.AbstractEventLoop,
        clock: EngineClock,
        *,
        keys: frozenset[str],
        seed: int,
        config: MockConfig,
        shared: SharedTables,
        share: Share,
        secret: str,
    ) -> None:
        by_id = {model.tier.id: model for model in models}
        self.listed = by_id
        self.models = by_id | {alias: model for model in models for alias in model.tier.aliases}
        self.fleet = Fleet(by_id, loop, clock, share)
        self.share = share
        self.handover = HandOver(secret)
        self.clock = clock
        self.ledger = Ledger()
        names = {name: frozenset({name, *model.tier.aliases}) for name, model in by_id.items()}
        self.gate = Gate(config, names, seed=seed, shared=shared)
        self.crashes = Crashes(self.gate, self.fleet, names, loop)
        self.peers: Peers | None = None  # the other workers, where there are any
        self.answers: dict[str, Answer] = {"counts": lambda _: self.counts()}  # to what they ask
        self._keys = keys
        self._seed = seed
        self._ids = itertools.count()
        self._admitted: dict[bytes, Admitted] = {}  # admission is pure: the same body is read once
        self._reader = BodyReader({name: _plain(model) for name, model in self.models.items()}, seed=seed)

    def close(self) -> None:
        self.fleet.close()
        if self.peers is not None:
            self.peers.close()
        self._reader.close()

    async def ask(self, worker: int, name: str, value: object = None) -> Any:
        """What that worker says, this one too."""
        if self.peers is None or worker == self.share.worker:
            return self.answers[name](value)
        return await self.peers.ask(worker, name, value)

    async def ask_all(self, name: str, value: object = None) -> list[Any]:
        """What every worker says, this one first."""
        return [self.answers[name](value)] if self.peers is None else await self.peers.ask_all(name, value)

    def key(self, request: web.Request) -> str:
        """The API key of a request. Raises RefusalError."""
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        key = key.strip()
        if scheme.lower() != "bearer" or not key:
            raise refusals.no_credentials()
        if (self._keys and key not in self._keys) or not key.isprintable():  # bytes that are no text
            raise refusals.wrong_key()
        return key

    async def body(self, request: web.Request) -> Body:
        """Raises RefusalError for another type than JSON, and for one past the limit."""
        if request.content_type != "application/json":
            raise refusals.wrong_content_type()
        return await read_body(request)

    async def admit_chat(self, body: Body) -> Admitted:
        """Raises RefusalError."""
        if body.is_long:
            return await self._reader.admit_chat(body.chunks)
        raw = body.whole()
        known = self._admitted.get(raw)
        if known is not None:
            return known
        admitted = admit(raw, self.models, seed=self._seed)
        if len(raw) <= REMEMBERED_BODY_BYTES:
            if len(self._admitted) >= REMEMBERED_BODIES:
                self._admitted.clear()
            self._admitted[raw] = admitted
        return admitted

    async def admit_response(self, body: Body, history: Sequence[Turn] | None) -> AdmittedResponse:
        """Raises RefusalError, HistoryNeededError."""
        if body.is_long or sum(turn.size_bytes for turn in history or ()) > OFF_LOOP_BYTES:
            return await self._reader.admit_response(body.chunks, history)
        return admit_response(body.whole(), history, self.models, seed=self._seed)

    async def tokens(self, body: Body) -> tuple[str, bytes]:
        """Of tokenize-text: the tier's id and the answer's body. Raises RefusalError."""
        if body.size_bytes > TOKENIZED_ON_LOOP_BYTES:
            return await self._reader.tokens(body.chunks)
        return token_list(body.whole(), self.models)

    def screen(self, key: str, entry: Entry, *, safety_fee_ticks: int) -> None:
        """The refusals that some keys stand for, whatever they ask. Raises RefusalError."""
        if key == KEY_WITHOUT_CREDITS:
            raise refusals.out_of_credits()
        if key == KEY_AT_ITS_LIMIT:
            raise refusals.rate_limited(
                entry.model, axis="Requests per Second", actual=2, limit=2, wait_s=RETRY_AFTER_S
            )
        if key == KEY_AT_CAPACITY:
            raise refusals.at_capacity()
        if key == KEY_UNSAFE:
            if safety_fee_ticks:
                entry.billed_ticks = safety_fee_ticks
                self.ledger.add(key, safety_fee_ticks)
            raise refusals.unsafe_content()

    def place(self, request: web.Request, admitted: Admitted, body: Body | None) -> Place:
        """The replica that will serve it. Raises HandOverError where that is another worker's, RefusalError
        where none is up."""
        model = self.listed[admitted.tier_id]
        chosen = None if self.share.workers == 1 else self.handover.chosen_replica(request)
        if chosen is not None:
            return next(place for place in self.fleet.places(model.tier.id) if place.index == chosen)
        cache_key = request.headers.get("x-grok-conv-id") or admitted.chat.cache_key
        place = self.fleet.choose(model, admitted, cache_key=cache_key)
        if isinstance(place, RemotePlace):
            self.share.loads.expect(place.slot)
            raise HandOverError(place.owner, body=body, replica=place.index)
        return place

    def keep_with_owner(self, request: web.Request, request_id: str) -> None:
        """What is stored under an id is with the worker that the id names. Raises HandOverError."""
        owner = self.owner(request_id)
        if owner != self.share.worker and not self.handover.was_handed(request):
            raise HandOverError(owner)

    def owner(self, request_id: str) -> int:
        """The worker whose answer has this id: its last two digits say so."""
        try:
            return int(request_id[-2:], 16) % self.share.workers
        except ValueError:  # no id of ours
            return self.share.worker

    def _new_id(self) -> str:
        """One that names this worker, where there are several."""
        made = wire.new_id()
        return made if self.share.workers == 1 else f"{made[:-2]}{self.share.worker:02x}"

    def counts(self) -> MockCounts:
        """This worker's part of /metrics."""
        return MockCounts(
            replicas=[
                replica_counts_of(model, index, telemetry)
                for model, rows in self.fleet.telemetry.items()
                for index, telemetry in rows.items()
            ],
            ticks=self.ledger.ticks,
            injected=self.gate.injected,
            time_scale=self.clock.scale,
            slipped_s=self.clock.slipped_s,
        )

    def crash(self, place: Place, down_s: float, entry: Entry) -> None:
        self.crashes.crash(place, down_s, entry)

    def reply(self, admitted: Admitted, arrival_s: float, allowance: Allowance) -> Reply:
        """arrival_s: of the request's last byte, on the engine's clock."""
        model, wanted = self.listed[admitted.tier_id], admitted.chat.service_tier
        service_tier = wanted if model.sheet.priority_multiplier is not None else "default"
        sequences = tuple(
            EngineSequence(
                id=next(self._ids),
                arrival_s=arrival_s,
                prompt_tokens=admitted.prompt_tokens,
                output_tokens=answer.total_tokens,
                block_keys=admitted.block_keys,
                workload=TOOLS if admitted.chat.tools else "",
            )
            for answer in admitted.answers
        )
        envelope = wire.Envelope(
            self._new_id(), model.tier.id, model.fingerprint, service_tier, allowance.block
        )
        return Reply(admitted, model, sequences, envelope)

    def named(self, request: web.Request) -> Model:
        """The model that the path names, by id or alias. Raises RefusalError."""
        self.key(request)
        name = request.match_info["id"]
        model = self.models.get(name)
        if model is None:
            raise refusals.unknown_model(name)
        return model


def _plain(model: Model) -> ServedTier:
    """What another process must know of a model: not its sources, nor its replicas."""
    return ServedTier(replace(model.tier, sources={}), model.kv_pool_tokens)
