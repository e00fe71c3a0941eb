"""GET /debug/engine?model=ID: the engine's own times, step by step and sequence by sequence."""

from typing import Any

from aiohttp import web

from mock_server import refusals
from mock_server.catalog_api import json_response
from mock_server.service import Service


class DebugApi:
    def __init__(self, service: Service) -> None:
        self._service = service
        service.answers["engine"] = self._logs
        service.answers["slipped"] = lambda _: service.clock.slipped_s

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/debug/engine", self.engine)]

    async def engine(self, request: web.Request) -> web.Response:
        """Of one model's replicas, or of every model. Times are the engine clock's, which runs with
        time.monotonic() at time scale 1."""
        service, name = self._service, request.query.get("model")
        if name is not None and name not in service.models:
            raise refusals.unknown_model(name)
        wanted = service.listed if name is None else {service.models[name].tier.id: service.models[name]}
        parts = await service.ask_all("engine", list(wanted))
        logs = {tier_id: {k: log for part in parts for k, log in part[tier_id].items()} for tier_id in wanted}
        return json_response(
            {
                "time_scale": service.clock.scale,
                "slipped_s": max(await service.ask_all("slipped")),
                "models": {tier_id: [rows[k] for k in sorted(rows)] for tier_id, rows in logs.items()},
            }
        )

    def _logs(self, tier_ids: list[str]) -> dict[str, dict[int, Any]]:
        """Of this worker's replicas, by model and index."""
        return {
            tier_id: {
                index: realtime.log.to_json()
                for index, realtime in self._service.fleet.realtimes(tier_id).items()
            }
            for tier_id in tier_ids
        }
