"""POST /v1/chat/completions: streamed, whole or deferred. GET /v1/chat/deferred-completion/{id}."""

import asyncio
import time

import orjson
from aiohttp import web

from mock_server import refusals
from mock_server.call import Call, journaled
from mock_server.deferred import DeferredStore
from mock_server.generation import WholeSink
from mock_server.refusals import RefusalError
from mock_server.service import Service
from mock_server.stream import Shared, StreamSink


class ChatApi:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._deferred = DeferredStore()

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/chat/completions", self.create),
            web.get("/v1/chat/deferred-completion/{id}", self.fetch_deferred, allow_head=False),
        ]

    def close(self) -> None:
        self._deferred.close()

    async def create(self, request: web.Request) -> web.StreamResponse:
        return await journaled(self._service, request, self._create)

    async def _create(self, call: Call) -> web.StreamResponse:
        body = await call.read()
        reply = call.enter(await self._service.admit_chat(body))
        if reply.admitted.chat.deferred:
            self._deferred.start(call.key, reply.envelope.id, self._deferred_body(call))
            call.defer()
            return web.Response(
                body=orjson.dumps({"request_id": reply.envelope.id}),
                content_type="application/json",
                headers={"x-request-id": reply.envelope.id},
            )
        if reply.admitted.chat.stream:
            return await call.done(await call.stream(self._sinks(call)))
        return await call.done(call.send(await self._body(call)))

    async def _body(self, call: Call) -> bytes:
        await call.generate([WholeSink() for _ in call.reply.sequences])
        return call.reply.whole_body(int(time.time()))

    async def _deferred_body(self, call: Call) -> bytes:
        """Raises RefusalError: a full queue, or a replica that crashed."""
        try:
            try:
                made = await self._body(call)
            except asyncio.CancelledError:
                call.crashed()
                raise
        except RefusalError as refusal:
            call.entry.status, call.entry.outcome = refusal.status, "refused"
            raise
        call.bill()
        self._service.gate.charge(call.key, call.entry.model, call.reply.generated_tokens)
        return made

    def _sinks(self, call: Call) -> list[StreamSink]:
        reply, chunked = call.reply, call.request.version >= (1, 1)
        connection, shared = call.connection(), Shared(open_choices=len(reply.sequences))
        return [
            StreamSink(reply, connection, chunked=chunked, index=index, shared=shared)
            for index in range(len(reply.sequences))
        ]

    async def fetch_deferred(self, request: web.Request) -> web.Response:
        key, request_id = self._service.key(request), request.match_info["id"]
        self._service.keep_with_owner(request, request_id)
        state = self._deferred.take(key, request_id)
        if state is None:
            raise refusals.no_deferred(request_id)
        headers = {"x-request-id": request_id}
        if not state:  # pending: recorded as an empty body
            return web.Response(status=202, headers=headers)
        return web.Response(body=state, content_type="application/json", headers=headers)
