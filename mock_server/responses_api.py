"""POST /v1/responses, streamed or whole; GET and DELETE /v1/responses/{id}."""

import time
from typing import Any

import orjson
from aiohttp import web

from mock_server import refusals
from mock_server.admission import AdmittedResponse, HistoryNeededError
from mock_server.body import Body
from mock_server.call import Call, journaled
from mock_server.catalog_api import json_response
from mock_server.choices import SAFETY_FEE_TICKS
from mock_server.generation import WholeSink
from mock_server.response_request import Turn
from mock_server.response_shape import ResponseShape
from mock_server.response_store import ResponseStore, StoredResponse
from mock_server.response_stream import ResponseSink
from mock_server.service import Service


class ResponsesApi:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._store = ResponseStore()
        service.answers["stored response"] = lambda asked: self._store.get(*asked)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/responses", self.create),
            web.get("/v1/responses/{id}", self.fetch, allow_head=False),
            web.delete("/v1/responses/{id}", self.delete),
        ]

    async def create(self, request: web.Request) -> web.StreamResponse:
        return await journaled(self._service, request, self._create)

    async def _create(self, call: Call) -> web.StreamResponse:
        body = await call.read()
        asked, previous = await self._admit(call.key, body)
        reply = call.enter(asked.admitted, safety_fee_ticks=SAFETY_FEE_TICKS)
        streamed = asked.admitted.chat.stream
        shape = ResponseShape(reply, asked.request.echo, created=int(time.time()), streamed=streamed)
        if streamed:
            sink = ResponseSink(reply, shape, call.connection(), chunked=call.request.version >= (1, 1))
            response = await call.done(await call.stream([sink]))
            final = sink.final
        else:
            await call.generate([WholeSink()])
            final = shape.finished(int(time.time()))
            response = await call.done(call.send(orjson.dumps(final)))
        if asked.request.store and final is not None:
            self._keep(call.key, body, shape, final, previous)
        return response

    async def _admit(self, key: str, body: Body) -> tuple[AdmittedResponse, StoredResponse | None]:
        """Twice where a response is continued: what it continues is named in the body."""
        try:
            return await self._service.admit_response(body, None), None
        except HistoryNeededError as needed:
            previous = await self._stored(key, needed.previous_id)
            if previous is None:
                raise refusals.no_response(needed.previous_id) from None
            return await self._service.admit_response(body, previous.history()), previous

    async def _stored(self, key: str, response_id: str) -> StoredResponse | None:
        """Here, or with the worker that made it."""
        owner = self._service.owner(response_id)
        found: StoredResponse | None = await self._service.ask(owner, "stored response", (key, response_id))
        return found

    def _keep(
        self,
        key: str,
        body: Body,
        shape: ResponseShape,
        final: dict[str, Any],
        previous: StoredResponse | None,
    ) -> None:
        turn = Turn(body.chunks, "" if shape.answer.tool_calls else shape.text())
        self._store.put(shape.id, StoredResponse(key, turn, orjson.dumps(final), previous))

    async def fetch(self, request: web.Request) -> web.Response:
        key, response_id = self._service.key(request), request.match_info["id"]
        self._service.keep_with_owner(request, response_id)
        stored = self._store.get(key, response_id)
        if stored is None:
            raise refusals.no_response(response_id)
        return web.Response(body=stored.body, content_type="application/json")

    async def delete(self, request: web.Request) -> web.Response:
        key, response_id = self._service.key(request), request.match_info["id"]
        self._service.keep_with_owner(request, response_id)
        if not self._store.delete(key, response_id):
            raise refusals.no_response(response_id)
        return json_response({"id": response_id, "object": "response", "deleted": True})
