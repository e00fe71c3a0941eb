"""The committed dashboards as plain data, and their queries as Grafana would send them."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GRAFANA = Path(__file__).resolve().parents[2] / "grafana"
DASHBOARDS = sorted((GRAFANA / "dashboards").glob("*.json"))
METRIC = re.compile(r"servebench_[a-z0-9_]+")


def load(path: Path) -> dict[str, Any]:
    board: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return board


def panels(board: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All but the rows."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def variables(board: Mapping[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = board["templating"]["list"]
    return found


@dataclass(frozen=True, slots=True)
class Target:
    panel: str
    ref_id: str
    expr: str
    legend: str
    instant: bool


def targets(board: Mapping[str, Any]) -> Iterator[Target]:
    for panel in panels(board):
        for target in panel["targets"]:
            yield Target(
                panel=panel["title"],
                ref_id=target["refId"],
                expr=target["expr"],
                legend=target["legendFormat"],
                instant=bool(target.get("instant")),
            )


def expressions(board: Mapping[str, Any]) -> list[str]:
    """Every PromQL text of a dashboard: panels, variables, annotations."""
    own = [target.expr for target in targets(board)]
    own += [variable["query"]["query"] for variable in variables(board) if variable["type"] == "query"]
    return own + [annotation["expr"] for annotation in board["annotations"]["list"]]


def resolve(expr: str, chosen: Mapping[str, str]) -> str:
    """Put the variables' values in, longest names first ($__rate_interval before $__rate)."""
    for name in sorted(chosen, key=len, reverse=True):
        expr = expr.replace(f"${name}", chosen[name])
    return expr
