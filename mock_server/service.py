"""Service: what all endpoints stand on. Keys, models, replicas, admission off the loop, the ledger."""

import asyncio
import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from aiohttp import web

from mock_server import refusals, wire
from mock_server.admission import Admitted, AdmittedResponse, admit, admit_response
from mock_server.choices import OFF_LOOP_BYTES
from mock_server.clock import EngineClock
from mock_server.fleet import Fleet, Place
from mock_server.model import Model
from mock_server.reply import Reply
from mock_server.response_request import Turn
from mock_server.telemetry import Ledger
from servebench.engine.sequence import Sequence as EngineSequence


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
    ) -> None:
        by_id = {model.tier.id: model for model in models}
        self.listed = by_id
        self.models = by_id | {alias: model for model in models for alias in model.tier.aliases}
        self.fleet = Fleet(by_id, loop, clock)
        self.clock = clock
        self.ledger = Ledger()
        self._keys = keys
        self._seed = seed
        self._ids = itertools.count()
        self._loop = loop
        self._parsers = ThreadPoolExecutor(max_workers=1, thread_name_prefix="parse")

    def close(self) -> None:
        self.fleet.close()
        self._parsers.shutdown(wait=False, cancel_futures=True)

    def key(self, request: web.Request) -> str:
        """The API key of a request. Raises RefusalError."""
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        key = key.strip()
        if scheme.lower() != "bearer" or not key:
            raise refusals.no_credentials()
        if self._keys and key not in self._keys:
            raise refusals.wrong_key()
        return key

    async def body(self, request: web.Request) -> bytes:
        """Raises RefusalError for another type than JSON."""
        if request.content_type != "application/json":
            raise refusals.wrong_content_type()
        return await request.read()

    async def admit_chat(self, raw: bytes) -> Admitted:
        """Raises RefusalError."""
        if len(raw) > OFF_LOOP_BYTES:
            return await self._loop.run_in_executor(self._parsers, self._admit_chat, raw)
        return self._admit_chat(raw)

    def _admit_chat(self, raw: bytes) -> Admitted:
        return admit(raw, self.models, seed=self._seed)

    async def admit_response(self, raw: bytes, history: Sequence[Turn] | None) -> AdmittedResponse:
        """Raises RefusalError, HistoryNeededError."""
        if len(raw) > OFF_LOOP_BYTES:
            return await self._loop.run_in_executor(self._parsers, self._admit_response, raw, history)
        return self._admit_response(raw, history)

    def _admit_response(self, raw: bytes, history: Sequence[Turn] | None) -> AdmittedResponse:
        return admit_response(raw, history, self.models, seed=self._seed)

    def place(self, request: web.Request, admitted: Admitted) -> Place:
        """The replica that will serve it."""
        cache_key = request.headers.get("x-grok-conv-id") or admitted.chat.cache_key
        return self.fleet.choose(self.listed[admitted.tier_id], cache_key=cache_key)

    def reply(self, admitted: Admitted, arrival_s: float) -> Reply:
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
            )
            for answer in admitted.answers
        )
        envelope = wire.Envelope(wire.new_id(), model.tier.id, model.fingerprint, service_tier)
        return Reply(admitted, model, sequences, envelope)

    def named(self, request: web.Request) -> Model:
        """The model that the path names, by id or alias. Raises RefusalError."""
        self.key(request)
        name = request.match_info["id"]
        model = self.models.get(name)
        if model is None:
            raise refusals.unknown_model(name)
        return model
