"""POST /v1/chat/completions: streamed, whole or deferred. GET /v1/chat/deferred-completion/{id}."""

import time

import orjson
from aiohttp import web

from mock_server import refusals
from mock_server.deferred import DeferredStore
from mock_server.fleet import Place
from mock_server.generation import WholeSink, generate
from mock_server.reply import Reply
from mock_server.sending import connection_of, send_stream
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
        service = self._service
        key = service.key(request)
        body = await service.body(request)
        arrival_s = service.clock.now_s()
        admitted = await service.admit_chat(body)
        service.screen(key, admitted, safety_fee_ticks=0)
        place = service.place(request, admitted)
        reply = service.reply(admitted, arrival_s)
        if admitted.chat.deferred:
            self._deferred.start(key, reply.envelope.id, self._finished(key, reply, place))
            return web.Response(
                body=orjson.dumps({"request_id": reply.envelope.id}),
                content_type="application/json",
                headers={"x-request-id": reply.envelope.id},
            )
        if admitted.chat.stream:
            response = await self._stream(request, reply, place)
            service.ledger.add(key, reply.usage().cost_ticks)
            return response
        made = await self._finished(key, reply, place)
        return web.Response(body=made, content_type="application/json", headers=reply.whole_headers())

    async def _finished(self, key: str, reply: Reply, place: Place) -> bytes:
        await generate(reply, [WholeSink() for _ in reply.sequences], place)
        self._service.ledger.add(key, reply.usage().cost_ticks)
        return reply.whole_body(int(time.time()))

    async def _stream(self, request: web.Request, reply: Reply, place: Place) -> web.StreamResponse:
        transport, chunked = connection_of(request), request.version >= (1, 1)
        shared = Shared(open_choices=len(reply.sequences))
        sinks = [
            StreamSink(reply, transport, chunked=chunked, index=index, shared=shared)
            for index in range(len(reply.sequences))
        ]
        return await send_stream(request, reply, sinks, place)

    async def fetch_deferred(self, request: web.Request) -> web.Response:
        key, request_id = self._service.key(request), request.match_info["id"]
        state = self._deferred.take(key, request_id)
        if state is None:
            raise refusals.no_deferred(request_id)
        headers = {"x-request-id": request_id}
        if not state:  # pending: recorded as an empty body
            return web.Response(status=202, headers=headers)
        return web.Response(body=state, content_type="application/json", headers=headers)
