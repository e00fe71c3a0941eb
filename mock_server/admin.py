"""/admin: the mock's configuration while it runs, its journal, its verdict on the client, a fresh start.

Without a key, as all that runs on loopback for a test; bind the mock elsewhere only among friends.
"""

import time
from typing import Any

import orjson
from aiohttp import web

from mock_server import refusals, verdicts
from mock_server.fault_rules import MockConfig, parse_config
from mock_server.journal import Entry
from mock_server.model import replica_counts
from mock_server.service import Service
from servebench.errors import UsageError

_IN_FORCE = "in_force_s"  # shown with the document, no part of it


class Admin:
    """For all workers of the mock, whichever is asked."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._gate = service.gate
        self._models = replica_counts(service.listed.values())
        service.answers["apply"] = self._apply
        service.answers["journal"] = lambda _: list(self._gate.journal.entries)
        service.answers["forget journal"] = lambda _: self._gate.journal.clear()

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/admin/config", self.get_config),
            web.post("/admin/config", self.set_config),
            web.get("/admin/journal", self.get_journal),
            web.get("/admin/verdict", self.get_verdict),
            web.post("/admin/reset", self.reset),
        ]

    async def get_config(self, request: web.Request) -> web.Response:
        return _json(self._shown())

    async def set_config(self, request: web.Request) -> web.Response:
        """The whole document: what it leaves out is at its default. It holds, or 400 names every problem."""
        await self._apply_to_all(self._read(await request.read()))
        return _json(self._shown())

    async def get_journal(self, request: web.Request) -> web.Response:
        """JSON lines by time of arrival, each with its verdicts; ?last=N for the latest N."""
        last = request.query.get("last", "")
        if last and not last.isdecimal():
            raise refusals.invalid_argument(f"last: {last} is not a whole number.")
        entries = sorted(await self._entries(), key=lambda entry: entry.arrived_s)
        words = verdicts.verdicts(entries, now_s=time.time())
        lines = [
            orjson.dumps(entry.to_json() | {"verdicts": words.get(place, [])})
            for place, entry in enumerate(entries)
        ]
        if last:
            lines = lines[max(0, len(lines) - int(last)) :]
        return web.Response(
            body=b"".join(line + b"\n" for line in lines), content_type="application/x-ndjson"
        )

    async def get_verdict(self, request: web.Request) -> web.Response:
        return _json(verdicts.summary(await self._entries(), now_s=time.time()))

    async def reset(self, request: web.Request) -> web.Response:
        """An empty journal, full buckets, and the document in force from its start; counters go on."""
        await self._service.ask_all("forget journal")
        await self._apply_to_all(self._gate.config)
        return _json(self._shown())

    def _read(self, raw: bytes) -> MockConfig:
        try:
            data = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise refusals.not_json(str(error)) from None
        if not isinstance(data, dict):
            raise refusals.invalid_argument("config: expected a JSON object.")
        data.pop(_IN_FORCE, None)  # what GET shows may be sent back as it is
        try:
            return parse_config("config", data, self._models)
        except UsageError as error:
            raise refusals.invalid_argument("\n".join(error.problems)) from None

    async def _entries(self) -> list[Entry]:
        return [entry for part in await self._service.ask_all("journal") for entry in part]

    async def _apply_to_all(self, config: MockConfig) -> None:
        self._gate.forget()
        await self._service.ask_all("apply", (config, time.monotonic()))

    def _apply(self, document: tuple[MockConfig, float]) -> None:
        """In this worker. The time is the same for all."""
        config, start_s = document
        self._gate.apply(config, start_s=start_s)
        self._service.crashes.plan()

    def _shown(self) -> dict[str, Any]:
        return self._gate.config.model_dump(exclude_none=True) | {
            _IN_FORCE: round(time.monotonic() - self._gate.start_s, 3)
        }


def _json(value: object) -> web.Response:
    return web.Response(body=orjson.dumps(value), content_type="application/json")
