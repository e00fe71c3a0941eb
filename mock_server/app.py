"""The HTTP front: the routes of all endpoints, and refusals as xAI's bodies."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web

from mock_server import refusals, wire
from mock_server.account_api import AccountApi
from mock_server.admin import Admin
from mock_server.catalog_api import CatalogApi, json_response
from mock_server.chat_api import ChatApi
from mock_server.choices import MAX_BODY_BYTES
from mock_server.clock import EngineClock
from mock_server.connection import WrittenResponse
from mock_server.debug_api import DebugApi
from mock_server.fault_rules import MockConfig
from mock_server.gate import SharedTables
from mock_server.metrics import CONTENT_TYPE, MetricsPage
from mock_server.model import Model, replica_counts
from mock_server.openapi import openapi_json
from mock_server.refusals import RefusalError
from mock_server.responses_api import ResponsesApi
from mock_server.service import Service

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Mock:
    """The server's state. keys empty: any key is taken."""

    def __init__(
        self,
        models: Sequence[Model],
        *,
        keys: frozenset[str],
        seed: int,
        time_scale: float = 1.0,
        config: MockConfig | None = None,
        shared: SharedTables | None = None,
    ) -> None:
        self._service = service = Service(
            models,
            asyncio.get_running_loop(),
            EngineClock(time_scale),
            keys=keys,
            seed=seed,
            config=config or MockConfig(),
            shared=shared or SharedTables(),
        )
        self._chat = ChatApi(service)
        self._metrics = MetricsPage(
            service.fleet.telemetry, service.ledger, service.clock, service.gate.injected
        )
        self._admin = Admin(service.gate, replica_counts(service.listed.values()), service.crashes.plan)

    def build_app(self) -> web.Application:
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[_finish])
        app.add_routes(
            [
                *self._chat.routes(),
                *ResponsesApi(self._service).routes(),
                *AccountApi(self._service).routes(),
                *CatalogApi(self._service).routes(),
                *DebugApi(self._service).routes(),
                *self._admin.routes(),
                web.get("/openapi.json", self.openapi),
                web.get("/health", self.health),
                web.get("/metrics", self.metrics),
            ]
        )
        app.on_cleanup.append(self._close)
        return app

    async def _close(self, app: web.Application) -> None:
        self._chat.close()
        self._service.close()

    async def openapi(self, request: web.Request) -> web.Response:
        return json_response(openapi_json(self._service.models))

    async def health(self, request: web.Request) -> web.Response:
        service = self._service
        state = {"status": "ok", "models": list(service.listed), "time_scale": service.clock.scale}
        return json_response(state)

    async def metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.render(), headers={"Content-Type": CONTENT_TYPE})


@web.middleware
async def _finish(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refusals and aiohttp's own as xAI's flat bodies, and the headers that every answer has."""
    headers = {}
    try:
        response = await handler(request)
        if not isinstance(response, WrittenResponse):
            wire.dress(response.headers)
        return response
    except RefusalError as caught:
        refusal = caught
    except web.HTTPRequestEntityTooLarge:
        refusal = refusals.body_too_large(MAX_BODY_BYTES)
    except web.HTTPMethodNotAllowed as wrong:
        refusal = refusals.wrong_method(request.method, request.path)
        headers["Allow"] = ", ".join(sorted(wrong.allowed_methods))
    except web.HTTPNotFound:
        refusal = refusals.no_route(request.path)
    response = web.Response(
        status=refusal.status, body=refusal.body, headers={**refusal.headers(), **headers}
    )
    wire.dress(response.headers)
    return response
