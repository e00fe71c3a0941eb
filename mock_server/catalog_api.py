"""The models: /v1/models, /v1/language-models, and the kinds of which none is served."""

from collections.abc import Callable
from typing import Any

import orjson
from aiohttp import web

from mock_server import refusals
from mock_server.model import language_model_json, model_json
from mock_server.service import Service

_NOT_SERVED = ("embedding-models", "image-generation-models", "video-generation-models")


class CatalogApi:
    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[web.RouteDef]:
        named: list[tuple[str, Callable[[web.Request], Any]]] = [
            ("/v1/models", self.list_models),
            ("/v1/models/{id}", self.get_model),
            ("/v1/language-models", self.list_language_models),
            ("/v1/language-models/{id}", self.get_language_model),
        ]
        named += [(f"/v1/{kind}", self.list_none) for kind in _NOT_SERVED]
        named += [(f"/v1/{kind}/{{id}}", self.get_none) for kind in _NOT_SERVED]
        return [web.get(path, handler, allow_head=False) for path, handler in named]

    async def list_models(self, request: web.Request) -> web.Response:
        self._service.key(request)
        entries = [model_json(model) for model in self._service.listed.values()]
        return json_response({"object": "list", "data": entries})

    async def get_model(self, request: web.Request) -> web.Response:
        return json_response(model_json(self._service.named(request)))

    async def list_language_models(self, request: web.Request) -> web.Response:
        self._service.key(request)
        return json_response({"models": [language_model_json(m) for m in self._service.listed.values()]})

    async def get_language_model(self, request: web.Request) -> web.Response:
        return json_response(language_model_json(self._service.named(request)))

    async def list_none(self, request: web.Request) -> web.Response:
        self._service.key(request)
        return json_response({"models": []})

    async def get_none(self, request: web.Request) -> web.Response:
        self._service.key(request)
        raise refusals.unknown_model(request.match_info["id"])


def json_response(value: object) -> web.Response:
    return web.Response(body=orjson.dumps(value), content_type="application/json")
