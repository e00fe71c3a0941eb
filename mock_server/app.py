"""The HTTP front: routes, keys, and a coroutine per request that waits while the realtime replicas write."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import orjson
from aiohttp import web

from mock_server import refusals, wire
from mock_server.admission import Admitted, admit
from mock_server.choices import MAX_BODY_BYTES, OFF_LOOP_BYTES, UNREAD_TIMEOUT_S
from mock_server.clock import EngineClock
from mock_server.fleet import Fleet, Place
from mock_server.metrics import CONTENT_TYPE, MetricsPage
from mock_server.model import Model, language_model_json, model_json
from mock_server.refusals import RefusalError
from mock_server.reply import Reply
from mock_server.stream import StreamSink, WholeSink
from mock_server.telemetry import Ledger
from servebench.engine.sequence import Sequence as EngineSequence

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class WrittenResponse(web.StreamResponse):
    """A response whose bytes went to the transport already."""

    def __init__(self, *, keep_alive: bool) -> None:
        super().__init__()
        self._stays = keep_alive

    @property
    def keep_alive(self) -> bool:
        return self._stays

    async def prepare(self, request: web.BaseRequest) -> None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


class Mock:
    """The server's state. keys empty: any key is taken."""

    def __init__(
        self, models: Sequence[Model], *, keys: frozenset[str], seed: int, time_scale: float = 1.0
    ) -> None:
        by_id = {model.tier.id: model for model in models}
        self._models = by_id | {alias: model for model in models for alias in model.tier.aliases}
        self._listed = by_id
        self._keys = keys
        self._seed = seed
        self._ids = itertools.count()
        self._loop = asyncio.get_running_loop()
        self._clock = EngineClock(time_scale)
        self._fleet = Fleet(by_id, self._loop, self._clock)
        self._ledger = Ledger()
        self._metrics = MetricsPage(self._fleet.telemetry, self._ledger, time_scale)
        self._parsers = ThreadPoolExecutor(max_workers=1, thread_name_prefix="parse")

    def build_app(self) -> web.Application:
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[_refuse])
        app.add_routes(
            [
                web.post("/v1/chat/completions", self.chat),
                web.get("/v1/models", self.list_models),
                web.get("/v1/models/{id}", self.get_model),
                web.get("/v1/language-models", self.list_language_models),
                web.get("/v1/language-models/{id}", self.get_language_model),
                web.get("/health", self.health),
                web.get("/metrics", self.metrics),
            ]
        )
        app.on_cleanup.append(self._close)
        return app

    async def _close(self, app: web.Application) -> None:
        self._fleet.close()
        self._parsers.shutdown(wait=False, cancel_futures=True)

    def _key(self, request: web.Request) -> str:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        key = key.strip()
        if scheme.lower() != "bearer" or not key:
            raise refusals.no_credentials()
        if self._keys and key not in self._keys:
            raise refusals.wrong_key()
        return key

    async def chat(self, request: web.Request) -> web.StreamResponse:
        key = self._key(request)
        if request.content_type != "application/json":
            raise refusals.wrong_content_type()
        raw = await request.read()
        arrival_s = self._clock.now_s()
        if len(raw) > OFF_LOOP_BYTES:
            admitted = await self._loop.run_in_executor(self._parsers, self._admit, raw)
        else:
            admitted = self._admit(raw)
        cache_key = request.headers.get("x-grok-conv-id") or admitted.chat.cache_key
        place = self._fleet.choose(admitted.model, cache_key=cache_key)
        reply = self._reply(admitted, arrival_s)
        if admitted.chat.stream:
            response = await self._stream(request, reply, place)
        else:
            response = await self._whole(reply, place)
        self._ledger.add(key, reply.usage().cost_ticks)
        return response

    def _admit(self, raw: bytes) -> Admitted:
        return admit(raw, self._models, seed=self._seed)

    def _reply(self, admitted: Admitted, arrival_s: float) -> Reply:
        model = admitted.model
        priority = admitted.chat.service_tier == "priority" and model.sheet.priority_multiplier is not None
        sequence = EngineSequence(
            id=next(self._ids),
            arrival_s=arrival_s,
            prompt_tokens=admitted.prompt_tokens,
            output_tokens=admitted.answer.total_tokens,
            block_keys=admitted.block_keys,
        )
        service_tier = "priority" if priority else "default"
        return Reply(
            admitted, sequence, wire.Envelope(wire.new_id(), model.tier.id, model.fingerprint, service_tier)
        )

    async def _run(self, reply: Reply, sink: StreamSink | WholeSink, place: Place) -> None:
        """Until the engine has made the last token. A client that leaves cancels this and so the sequence."""
        place.realtime.submit(reply.sequence, sink)
        try:
            await sink.engine_done
        except asyncio.CancelledError:
            place.realtime.cancel(reply.sequence.id)
            place.telemetry.abort()
            raise
        place.telemetry.finish(reply)

    async def _whole(self, reply: Reply, place: Place) -> web.Response:
        await self._run(reply, WholeSink(), place)
        return web.Response(
            body=reply.whole_body(int(time.time())),
            content_type="application/json",
            headers=reply.whole_headers(),
        )

    async def _stream(self, request: web.Request, reply: Reply, place: Place) -> web.StreamResponse:
        transport = request.transport
        if transport is None:
            raise asyncio.CancelledError
        chunked = request.version >= (1, 1)
        sink = StreamSink(reply, transport, chunked=chunked)
        await self._run(reply, sink, place)
        while not sink.written:  # the client is slow: its backlog goes out as it reads
            try:
                await asyncio.wait_for(request.writer.drain(), UNREAD_TIMEOUT_S)
            except TimeoutError:
                transport.abort()
            if transport.is_closing():
                raise ConnectionResetError("the client left before its last token")
            sink.pump()
        return WrittenResponse(keep_alive=chunked and request.keep_alive)

    async def list_models(self, request: web.Request) -> web.Response:
        self._key(request)
        return _json({"object": "list", "data": [model_json(model) for model in self._listed.values()]})

    async def get_model(self, request: web.Request) -> web.Response:
        return _json(model_json(self._named(request)))

    async def list_language_models(self, request: web.Request) -> web.Response:
        self._key(request)
        return _json({"models": [language_model_json(model) for model in self._listed.values()]})

    async def get_language_model(self, request: web.Request) -> web.Response:
        return _json(language_model_json(self._named(request)))

    def _named(self, request: web.Request) -> Model:
        self._key(request)
        name = request.match_info["id"]
        model = self._models.get(name)
        if model is None:
            raise refusals.unknown_model(name)
        return model

    async def health(self, request: web.Request) -> web.Response:
        return _json({"status": "ok", "models": list(self._listed), "time_scale": self._clock.scale})

    async def metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.render(), headers={"Content-Type": CONTENT_TYPE})


def _json(value: object) -> web.Response:
    return web.Response(body=orjson.dumps(value), content_type="application/json")


@web.middleware
async def _refuse(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refusals and aiohttp's own as xAI's flat bodies."""
    try:
        return await handler(request)
    except RefusalError as caught:
        refusal = caught
    except web.HTTPRequestEntityTooLarge:
        refusal = refusals.body_too_large(MAX_BODY_BYTES)
    except web.HTTPMethodNotAllowed:
        refusal = refusals.wrong_method(request.method, request.path)
    except web.HTTPNotFound:
        refusal = refusals.no_route(request.path)
    return web.Response(
        status=refusal.status, body=refusal.body, headers={"Content-Type": refusal.content_type}
    )
