"""Panels as this project draws them: one function a kind, with the grid position given by hand.

The foundation SDK's own layout runs past 24 columns, so nothing here is placed by it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import common, heatmap, prometheus, stat, timeseries
from grafana_foundation_sdk.builders import dashboard as dashboards
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import heatmap as heatmap_models
from grafana_foundation_sdk.models import prometheus as prometheus_models

DATASOURCE = common_models.DataSourceRef(type_val="prometheus", uid="${datasource}")
ROW_HEIGHT = 1


@dataclass(frozen=True, slots=True)
class Place:
    """Columns and rows of the grid: x + w <= 24."""

    x: int
    y: int
    w: int
    h: int

    @property
    def position(self) -> models.GridPos:
        return models.GridPos(x=self.x, y=self.y, w=self.w, h=self.h)


@dataclass(frozen=True, slots=True)
class Query:
    """instant: one value at the end of the range, else one a step."""

    expr: str
    legend: str
    instant: bool = False


@dataclass(frozen=True, slots=True)
class Figure:
    """What one big number shows. thresholds: (from value, colour), the first from None = everything below."""

    title: str
    description: str
    query: Query
    unit: str
    decimals: int | None = None
    thresholds: Sequence[tuple[float | None, str]] = ((None, "text"),)


def row(title: str, *, panel_id: int, y: int) -> dashboards.Row:
    return dashboards.Row(title).id(panel_id).grid_pos(models.GridPos(x=0, y=y, w=24, h=ROW_HEIGHT))


def number(figure: Figure, *, panel_id: int, place: Place) -> stat.Panel:
    panel = (
        stat.Panel()
        .id(panel_id)
        .title(figure.title)
        .description(figure.description)
        .datasource(DATASOURCE)
        .grid_pos(place.position)
        .unit(figure.unit)
        .no_value("-")
        .color_mode(common_models.BigValueColorMode.VALUE)
        .graph_mode(common_models.BigValueGraphMode.NONE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False).fields(""))
        .thresholds(_thresholds(figure.thresholds))
        .with_target(_target(figure.query, "A"))
    )
    return panel if figure.decimals is None else panel.decimals(figure.decimals)


def lines(
    title: str,
    description: str,
    queries: Sequence[Query],
    *,
    panel_id: int,
    place: Place,
    unit: str,
    stacked: bool = False,
) -> timeseries.Panel:
    """Values over time, one line a series; stacked as areas where they add up to a whole."""
    panel = (
        timeseries.Panel()
        .id(panel_id)
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .grid_pos(place.position)
        .unit(unit)
        .min(0)
        .line_width(1)
        .fill_opacity(30 if stacked else 0)
        .show_points(common_models.VisibilityMode.NEVER)
        .legend(
            common.VizLegendOptions()
            .display_mode(common_models.LegendDisplayMode.TABLE)
            .placement(common_models.LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs(["mean", "max", "lastNotNull"])
        )
        .tooltip(
            common.VizTooltipOptions()
            .mode(common_models.TooltipDisplayMode.MULTI)
            .sort(common_models.SortOrder.DESCENDING)
        )
    )
    if stacked:
        panel.stacking(common.StackingConfig().mode(common_models.StackingMode.NORMAL).group("A"))
    for place_in_alphabet, query in enumerate(queries):
        panel.with_target(_target(query, chr(ord("A") + place_in_alphabet)))
    return panel


def heat(
    title: str, description: str, query: Query, *, panel_id: int, place: Place, unit: str
) -> heatmap.Panel:
    """Bucket counts over time, as Prometheus keeps them: no calculation in the browser."""
    return (
        heatmap.Panel()
        .id(panel_id)
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .grid_pos(place.position)
        .calculate(False)
        .color(
            heatmap.HeatmapColorOptions()
            .mode(heatmap_models.HeatmapColorMode.SCHEME)
            .scheme("Oranges")
            .exponent(0.5)
            .steps(64)
        )
        .y_axis(heatmap.YAxisConfig().unit(unit).axis_placement(common_models.AxisPlacement.LEFT))
        .with_target(_target(query, "A").format(prometheus_models.PromQueryFormat.HEATMAP))
    )


def _target(query: Query, ref_id: str) -> prometheus.Dataquery:
    target = (
        prometheus.Dataquery()
        .datasource(DATASOURCE)
        .ref_id(ref_id)
        .expr(query.expr)
        .legend_format(query.legend)
        .editor_mode(prometheus_models.QueryEditorMode.CODE)
    )
    return target.instant() if query.instant else target.range()


def _thresholds(steps: Sequence[tuple[float | None, str]]) -> dashboards.ThresholdsConfig:
    return (
        dashboards.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps([models.Threshold(value=value, color=color) for value, color in steps])
    )
