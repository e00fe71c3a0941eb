"""A dashboard held open over a span of time: its variables chosen, its queries sent as Grafana sends them."""

import re
from collections.abc import Mapping
from typing import Any

from tests.grafana.prometheus_server import PrometheusServer
from tests.grafana.reading import Target, resolve, variables

Answer = list[tuple[dict[str, str], list[tuple[float, float]]]]  # labels, (time, value) pairs


class DashboardRun:
    """start_s, end_s: the time range, Unix seconds; scrapes are one second apart."""

    def __init__(
        self, board: Mapping[str, Any], server: PrometheusServer, *, start_s: float, end_s: float
    ) -> None:
        self.server, self.start_s, self.end_s = server, start_s, end_s
        self.chosen = {
            "__rate_interval": "4s",  # max(step + scrape interval, 4 scrape intervals)
            "__range": f"{round(end_s - start_s)}s",
        }
        self.offered: dict[str, list[str]] = {}
        for variable in variables(board):
            if variable["type"] == "query":
                self._choose(variable)

    def _choose(self, variable: Mapping[str, Any]) -> None:
        match = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
        assert match is not None, variable["query"]
        matcher = resolve(match[1], self.chosen).replace("{}", "")
        values = sorted(
            self.server.label_values(match[2], matcher, start_s=self.start_s, end_s=self.end_s),
            reverse=variable["sort"] == 2,
        )
        self.offered[variable["name"]] = values
        assert values, f"{variable['name']} has no value"
        # "All" where the dashboard offers it, else the first
        self.chosen[variable["name"]] = variable["allValue"] if variable["includeAll"] else values[0]

    def ask(self, target: Target) -> Answer:
        """One value a series for an instant query, else one a second."""
        expr = resolve(target.expr, self.chosen)
        assert "$" not in expr, expr
        if target.instant:
            found = self.server.instant(expr, at_s=self.end_s)
            return [(labels, [(self.end_s, value)]) for labels, value in found]
        return self.server.points(expr, start_s=self.start_s, end_s=self.end_s)
