"""The load-test dashboard: how fast, how much, at what cost, and whether the load generator kept up."""

from collections.abc import Sequence

from grafana_foundation_sdk.builders import dashboard as dashboards
from grafana_foundation_sdk.models import dashboard as models

from grafana.panels import DATASOURCE, row
from grafana.queries import series
from grafana.sections import cost, generator, latency, load, outcomes, overview


def variable(name: str, label: str, *, within: Sequence[str]) -> dashboards.QueryVariable:
    """The values of one label, among the runs that the variables before it leave."""
    matchers = ", ".join(f'{other}=~"${other}"' for other in within)
    query = f"label_values(servebench_run_info{{{matchers}}}, {name})"
    built = (
        dashboards.QueryVariable(name)
        .label(label)
        .datasource(DATASOURCE)
        .query({"query": query, "refId": "variable", "qryType": 1})
        .definition(query)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
    )
    if name == "run_id":
        # run ids begin with their UTC time: the newest first, and one at a time
        return built.sort(models.VariableSort.ALPHABETICAL_DESC).multi(False).include_all(False)
    everything = models.VariableOption(text="All", value="$__all")
    return (
        built.sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(everything)
    )


def phases() -> dashboards.AnnotationQuery:
    return (
        dashboards.AnnotationQuery()
        .name("Phases")
        .datasource(DATASOURCE)
        .enable(True)
        .icon_color("blue")
        .expr(f"{series('phase_info')} == 1")
        .step("1s")
        .title_format("{{phase}}")
        .tag_keys("phase")
    )


def load_test() -> dashboards.Dashboard:
    """The whole dashboard, ready to build()."""
    board = (
        dashboards.Dashboard("servebench: load test")
        .uid("servebench-load-test")
        .description("One servebench run: speed, capacity and cost, live or finished.")
        .tags(["servebench"])
        .editable()
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .time("now-15m", "now")
        .refresh("5s")
        .timezone("browser")
        .annotation(phases())
        .with_variable(dashboards.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(variable("scenario", "Scenario", within=()))
        .with_variable(variable("model", "Model", within=("scenario",)))
        .with_variable(variable("target", "Target", within=("scenario", "model")))
        .with_variable(variable("run_id", "Run", within=("scenario", "model", "target")))
    )
    y = 0
    for panel_id, title, section, height in (
        (1, "Overview", overview, 4),
        (10, "Load", load, 8),
        (20, "Latency", latency, 16),
        (30, "Outcomes and tokens", outcomes, 8),
        (40, "Cost", cost, 8),
        (50, "Load generator", generator, 8),
    ):
        board.with_row(row(title, panel_id=panel_id, y=y))
        for panel in section(y + 1):
            board.with_panel(panel)
        y += 1 + height
    return board
