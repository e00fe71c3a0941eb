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
from mock_server.connection import WrittenResponse, written
from mock_server.counts import added
from mock_server.debug_api import DebugApi
from mock_server.fault_rules import MockConfig
from mock_server.gate import SharedTables
from mock_server.handover import HandOverError, release
from mock_server.metrics import CONTENT_TYPE, metrics_page
from mock_server.model import Model
from mock_server.openapi import openapi_json
from mock_server.refusals import RefusalError
from mock_server.responses_api import ResponsesApi
from mock_server.service import Service
from mock_server.share import Share, shares

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
        share: Share | None = None,
        secret: str = "",
    ) -> None:
        self._service = service = Service(
            models,
            asyncio.get_running_loop(),
            EngineClock(time_scale),
            keys=keys,
            seed=seed,
            config=config or MockConfig(),
            shared=shared or SharedTables(),
            share=share or shares(models, 1)[0],
            secret=secret,
        )
        self._chat = ChatApi(service)
        self._admin = Admin(service)

    @property
    def service(self) -> Service:
        return self._service

    def build_app(self) -> web.Application:
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[self._finish])
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
        counts = added(await self._service.ask_all("counts"))
        return web.Response(body=metrics_page(counts), headers={"Content-Type": CONTENT_TYPE})

    @web.middleware
    async def _finish(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refusals and aiohttp's own as xAI's flat bodies, and the headers that every answer has; a request
        that another worker must serve goes there."""
        try:
            response = await handler(request)
            if not isinstance(response, WrittenResponse):
                wire.dress(response.headers)
            return response
        except HandOverError as error:
            return self._hand_over(request, error)
        except ConnectionResetError:  # its client has left, or a fault has ended it: nothing more to say
            return written(keep_alive=False)
        except RefusalError as refusal:
            return _refused(refusal, {})
        except web.HTTPRequestEntityTooLarge:
            return _refused(refusals.body_too_large(MAX_BODY_BYTES), {})
        except web.HTTPMethodNotAllowed as wrong:
            allow = {"Allow": ", ".join(sorted(wrong.allowed_methods))}
            return _refused(refusals.wrong_method(request.method, request.path), allow)
        except web.HTTPNotFound:
            return _refused(refusals.no_route(request.path), {})

    def _hand_over(self, request: web.Request, error: HandOverError) -> web.StreamResponse:
        service = self._service
        assert service.peers is not None
        descriptor, response = release(request)
        service.peers.hand_over(error.worker, descriptor, service.handover.request_bytes(request, error))
        return response


def _refused(refusal: RefusalError, headers: dict[str, str]) -> web.Response:
    response = web.Response(
        status=refusal.status, body=refusal.body, headers={**refusal.headers(), **headers}
    )
    wire.dress(response.headers)
    return response
