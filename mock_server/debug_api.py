"""GET /debug/engine?model=ID: the engine's own times, step by step and sequence by sequence."""

from aiohttp import web

from mock_server import refusals
from mock_server.catalog_api import json_response
from mock_server.service import Service


class DebugApi:
    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/debug/engine", self.engine)]

    async def engine(self, request: web.Request) -> web.Response:
        """Of one model's replicas, or of every model. Times are the engine clock's, which runs with
        time.monotonic() at time scale 1."""
        service, name = self._service, request.query.get("model")
        if name is not None and name not in service.models:
            raise refusals.unknown_model(name)
        wanted = service.listed if name is None else {service.models[name].tier.id: service.models[name]}
        return json_response(
            {
                "time_scale": service.clock.scale,
                "slipped_s": service.clock.slipped_s,
                "models": {
                    tier_id: [realtime.log.to_json() for realtime in service.fleet.realtimes(tier_id)]
                    for tier_id in wanted
                },
            }
        )
