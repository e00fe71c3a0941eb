"""What costs no tokens: the state of the key, and the tokens of a text."""

from hashlib import blake2b
from typing import Any
from uuid import UUID

from aiohttp import web

from mock_server.catalog_api import json_response
from mock_server.choices import TEAM_ID
from mock_server.service import Service

_SINCE = "2026-01-01T00:00:00.000000Z"
_TELLING_CHARS = 20  # of a shorter key the last four would tell too much


class AccountApi:
    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/api-key", self.api_key, allow_head=False),
            web.post("/v1/tokenize-text", self.tokenize),
        ]

    async def api_key(self, request: web.Request) -> web.Response:
        return json_response(key_json(self._service.key(request)))

    async def tokenize(self, request: web.Request) -> web.Response:
        """With the headers recorded for it: limits of requests alone, and one time."""
        service = self._service
        key, body = service.key(request), await service.body(request)
        arrival_s = service.clock.now_s()
        tier_id, made = await service.tokens(body)
        allowance = service.gate.allowance(key, tier_id)
        headers = {
            "x-ratelimit-limit-requests": str(allowance.limit_requests),
            "x-ratelimit-remaining-requests": str(allowance.remaining_requests),
            "x-metrics-e2e-ms": f"{(service.clock.now_s() - arrival_s) * 1e3:.1f}",
        }
        return web.Response(body=made, content_type="application/json", headers=headers)


def key_json(key: str) -> dict[str, Any]:
    """A state that says nothing of the key but its end; ids hashed from it."""
    return {
        "redacted_api_key": f"xai-...{key[-4:] if len(key) >= _TELLING_CHARS else '****'}",
        "user_id": _id(key, "user"),
        "name": "servebench mock",
        "create_time": _SINCE,
        "modify_time": _SINCE,
        "modified_by": _id(key, "user"),
        "team_id": TEAM_ID,
        "acls": ["api-key:model:*", "api-key:endpoint:*"],
        "api_key_id": _id(key, "key"),
        "team_blocked": False,
        "api_key_blocked": False,
        "api_key_disabled": False,
    }


def _id(key: str, kind: str) -> str:
    return str(UUID(bytes=blake2b(f"{kind} {key}".encode(), digest_size=16).digest(), version=4))
