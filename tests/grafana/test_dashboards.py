"""What Grafana's SDK and its dashboard linter would say of the committed dashboards."""

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.build import generated
from servebench.export.metric_names import METRICS, RUN_LABELS
from tests.grafana.reading import DASHBOARDS, GRAFANA, METRIC, expressions, load, panels, targets, variables

COUNTER_NAMES = {metric.name for metric in METRICS if metric.kind == "counter"} | {
    name for metric in METRICS if metric.kind == "histogram" for name in metric.series_names
}
LABELS = {metric.name: {*RUN_LABELS, *metric.labels} for metric in METRICS}
every_dashboard = pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)


def test_the_committed_json_is_the_generated_one() -> None:
    assert {path.name: path.read_text(encoding="utf-8") for path in DASHBOARDS} == generated()


@every_dashboard
def test_the_sdk_reads_and_writes_it_without_a_difference(path: Path) -> None:
    register_default_plugins()
    board = load(path)
    assert json.loads(JSONEncoder().encode(Dashboard.from_json(board))) == board
    assert board["schemaVersion"] == 42


@every_dashboard
def test_the_round_trip_would_see_an_unknown_key(path: Path) -> None:
    register_default_plugins()
    board = load(path)
    panels(board)[0]["options"]["colourMode"] = "value"
    assert json.loads(JSONEncoder().encode(Dashboard.from_json(board))) != board


@every_dashboard
def test_titles_descriptions_units_and_data_sources(path: Path) -> None:
    board = load(path)
    assert board["uid"]
    assert board["title"]
    assert board["description"]
    titles = [panel["title"] for panel in panels(board)]
    assert len(set(titles)) == len(titles)
    for panel in panels(board):
        assert panel["title"]
        assert len(panel["description"]) > 10, panel["title"]
        unit = panel["fieldConfig"]["defaults"].get("unit") or panel["options"].get("yAxis", {}).get("unit")
        assert unit, panel["title"]
        for part in (panel, *panel["targets"]):
            assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]


@every_dashboard
def test_the_grid(path: Path) -> None:
    board = load(path)
    cells: dict[tuple[int, int], str] = {}
    for panel in board["panels"]:
        at = panel["gridPos"]
        assert at["x"] >= 0
        assert at["x"] + at["w"] <= 24, panel["title"]
        for cell in (
            (x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])
        ):
            assert cells.setdefault(cell, panel["title"]) == panel["title"], cell
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)


@every_dashboard
def test_variables_are_defined_used_and_refreshed(path: Path) -> None:
    board = load(path)
    names = [variable["name"] for variable in variables(board)]
    assert set(names) == {"datasource", *RUN_LABELS}
    for variable in variables(board):
        if variable["type"] == "query":
            assert variable["refresh"] == 2, "on time range change"
            assert variable["definition"] == variable["query"]["query"]
            assert variable["datasource"]["uid"] == "${datasource}"
            earlier = names[: names.index(variable["name"])]
            assert set(re.findall(r"\$(\w+)", variable["definition"])) <= set(earlier), (
                "a variable depends on those before it"
            )
    for expr in (target.expr for target in targets(board)):
        used = set(re.findall(r"\$(\w+)", expr))
        assert used <= {*names, "__rate_interval", "__range"}, expr
        assert set(RUN_LABELS) <= used, f"not limited to the chosen run: {expr}"


@every_dashboard
def test_counters_are_rated(path: Path) -> None:
    """max_over_time is the exact total of a counter that starts with its run; a bare counter is a mistake."""
    for expr in expressions(load(path)):
        for match in METRIC.finditer(expr):
            before = expr[: match.start()]
            if match.group() in COUNTER_NAMES:
                assert before.endswith(("rate(", "increase(", "max_over_time(")), expr
        for function, window in re.findall(r"(rate|increase)\([^[]*\[([^]]+)\]", expr):
            assert window == "$__rate_interval", f"{function} over {window}: {expr}"
        for window in re.findall(r"max_over_time\([^[]*\[([^]]+)\]", expr):
            assert window == "$__range", expr


@every_dashboard
def test_legends_name_labels_that_the_result_has(path: Path) -> None:
    for target in targets(load(path)):
        assert target.legend, target
        wanted = set(re.findall(r"{{(\w+)}}", target.legend))
        grouped = set(re.findall(r"by \((\w+)\)", target.expr))
        assert wanted <= grouped, target
        if wanted and wanted != {"le"}:
            metrics = [name for name in METRIC.findall(target.expr) if name in LABELS]
            assert metrics
            assert all(wanted <= LABELS[name] for name in metrics), target


@every_dashboard
def test_queries_of_a_panel_have_their_own_letters(path: Path) -> None:
    for one, other in combinations(targets(load(path)), 2):
        if one.panel == other.panel:
            assert one.ref_id != other.ref_id


def test_every_metric_shown_is_exported_and_every_metric_exported_is_shown() -> None:
    shown = {name for path in DASHBOARDS for expr in expressions(load(path)) for name in METRIC.findall(expr)}
    exported = {name: metric.name for metric in METRICS for name in metric.series_names}
    assert shown <= set(exported)
    assert {exported[name] for name in shown} == {metric.name for metric in METRICS}


def test_the_rules_name_exported_metrics_only() -> None:
    exported = {name for metric in METRICS for name in metric.series_names}
    for name in ("rules.yml", "rules.test.yml"):
        text = (GRAFANA / "prometheus" / name).read_text(encoding="utf-8")
        named = set(re.findall(r"(?<!:)\bservebench_[a-z0-9_]+", text))
        assert named
        assert named <= exported


def _panel_of(board: dict[str, Any], title: str) -> dict[str, Any]:
    return next(panel for panel in panels(board) if panel["title"] == title)


def test_every_promised_number_is_in_the_first_row() -> None:
    board = load(GRAFANA / "dashboards" / "load-test.json")
    first = [panel["title"] for panel in panels(board) if panel["gridPos"]["y"] == 1]
    assert first == [
        "Requests/s",
        "Output tokens/s",
        "TTFT p95",
        "ITL p95",
        "Errors",
        "Goodput",
        "Cost so far",
        "$ per million tokens",
    ]
    assert _panel_of(board, "TTFT heatmap")["type"] == "heatmap"
