"""/admin: the mock's configuration while it runs, its journal, its verdict on the client, a fresh start.

Without a key, as all that runs on loopback for a test; bind the mock elsewhere only among friends.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from aiohttp import web

from mock_server import refusals, verdicts
from mock_server.fault_rules import MockConfig, parse_config
from mock_server.gate import Gate
from servebench.errors import UsageError


class Admin:
    """models: replicas by the names that are served. on_apply: called once another document is in force."""

    def __init__(self, gate: Gate, models: Mapping[str, int], on_apply: Callable[[], None]) -> None:
        self._gate = gate
        self._models = models
        self._on_apply = on_apply

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
        config = self._read(await request.read())
        self._apply(config)
        return _json(self._shown())

    async def get_journal(self, request: web.Request) -> web.Response:
        """JSON lines by time of arrival, each with its verdicts; ?last=N for the latest N."""
        last = request.query.get("last", "")
        if last and not last.isdecimal():
            raise refusals.invalid_argument(f"last: {last} is not a whole number.")
        entries = sorted(self._gate.journal.entries, key=lambda entry: entry.arrived_s)
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
        return _json(verdicts.summary(list(self._gate.journal.entries), now_s=time.time()))

    async def reset(self, request: web.Request) -> web.Response:
        """An empty journal, full buckets, and the document in force from its start; counters go on."""
        self._gate.journal.clear()
        self._apply(self._gate.config)
        return _json(self._shown())

    def _read(self, raw: bytes) -> MockConfig:
        try:
            data = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise refusals.not_json(str(error)) from None
        if not isinstance(data, dict):
            raise refusals.invalid_argument("config: expected a JSON object.")
        try:
            return parse_config("config", data, self._models)
        except UsageError as error:
            raise refusals.invalid_argument("\n".join(error.problems)) from None

    def _apply(self, config: MockConfig) -> None:
        self._gate.forget()
        self._gate.apply(config, start_s=time.monotonic())
        self._on_apply()

    def _shown(self) -> dict[str, Any]:
        return self._gate.config.model_dump(exclude_none=True) | {
            "in_force_s": round(time.monotonic() - self._gate.start_s, 3)
        }


def _json(value: object) -> web.Response:
    return web.Response(body=orjson.dumps(value), content_type="application/json")
