"""The load-test dashboard: how fast, how much, at what cost, and whether the load generator kept up.

Big numbers are of the whole run so far: the collector starts with the run, so a counter's highest value in
the range is the run's exact total (increase() extrapolates past the first and the last scrape). Lines are
rates over $__rate_interval.
"""

from collections.abc import Iterator, Sequence

from grafana_foundation_sdk.builders import dashboard as dashboards
from grafana_foundation_sdk.builders import stat
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models

from grafana.panels import DATASOURCE, Place, Query, heat, lines, number, row

RUN = 'run_id="$run_id", scenario=~"$scenario", model=~"$model", target=~"$target"'
ENDED_WELL, FAILED = 'outcome="success"', 'outcome!="success"'
EVERY_LIMIT = 'slo="all"'
GENERATED = 'type=~"output|reasoning"'
QUANTILES = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))


def series(metric: str, *matchers: str) -> str:
    """The run's series of one metric."""
    return f"servebench_{metric}{{{', '.join([RUN, *matchers])}}}"


def rate(metric: str, *matchers: str, by: str = "") -> str:
    return f"sum{_by(by)} (rate({series(metric, *matchers)}[$__rate_interval]))"


def total(metric: str, *matchers: str, by: str = "") -> str:
    """The whole run so far."""
    return f"sum{_by(by)} (max_over_time({series(metric, *matchers)}[$__range]))"


def quantile(q: float, metric: str) -> str:
    return f"histogram_quantile({q}, {rate(f'{metric}_seconds_bucket', by='le')})"


def quantile_of_run(q: float, metric: str) -> str:
    return f"histogram_quantile({q}, {total(f'{metric}_seconds_bucket', by='le')})"


def _by(labels: str) -> str:
    return f" by ({labels})" if labels else ""


def overview(y: int) -> Iterator[stat.Panel]:
    """The row of big numbers."""

    def at(column: int) -> Place:
        return Place(x=3 * column, y=y, w=3, h=4)

    yield number(
        "Requests/s",
        "Successful requests a second, now.",
        Query(rate("requests_total", ENDED_WELL), "requests/s"),
        panel_id=2,
        place=at(0),
        unit="reqps",
        decimals=1,
    )
    yield number(
        "Output tokens/s",
        "Visible and reasoning tokens a second over all requests, now.",
        Query(rate("tokens_total", GENERATED), "tokens/s"),
        panel_id=3,
        place=at(1),
        unit="short",
        decimals=0,
    )
    yield number(
        "TTFT p95",
        "Time to the first token of any kind, from the intended start; the whole run so far, failures at "
        "+inf. Read from buckets: the run's own report has the exact value.",
        Query(quantile_of_run(0.95, "ttft"), "TTFT p95", instant=True),
        panel_id=4,
        place=at(2),
        unit="s",
    )
    yield number(
        "ITL p95",
        "Gap between successive content chunks; the whole run so far.",
        Query(quantile_of_run(0.95, "itl"), "ITL p95", instant=True),
        panel_id=5,
        place=at(3),
        unit="s",
    )
    yield number(
        "Errors",
        "Share of the offered requests that did not succeed; the whole run so far.",
        Query(
            f"{total('requests_total', FAILED)} / {total('requests_total')}",
            "errors",
            instant=True,
        ),
        panel_id=6,
        place=at(4),
        unit="percentunit",
        decimals=2,
        thresholds=((None, "green"), (0.01, "orange"), (0.05, "red")),
    )
    yield number(
        "Goodput",
        "Share of the offered requests that met every limit of the run; without limits, that succeeded.",
        Query(
            f"{total('slo_good_total', EVERY_LIMIT)} / {total('slo_offered_total', EVERY_LIMIT)}",
            "goodput",
            instant=True,
        ),
        panel_id=7,
        place=at(5),
        unit="percentunit",
        decimals=2,
        thresholds=((None, "red"), (0.95, "orange"), (0.99, "green")),
    )
    yield number(
        "Cost so far",
        "The API bill of the run in USD, by usage and dated prices.",
        Query(total("cost_usd_total"), "USD", instant=True),
        panel_id=8,
        place=at(6),
        unit="currencyUSD",
    )
    yield number(
        "$ per million tokens",
        "The bill over all tokens, input and output.",
        Query(f"1e6 * {total('cost_usd_total')} / {total('tokens_total')}", "USD per million", instant=True),
        panel_id=9,
        place=at(7),
        unit="currencyUSD",
    )


def load(y: int) -> Iterator[Builder[models.Panel]]:
    yield lines(
        "Planned and achieved rate",
        "Arrivals as the schedule has them, and requests that ended, over the last 10 s. Achieved below "
        "planned means a growing queue or a slow load generator.",
        [
            Query(f"sum ({series('offered_rate_rps')})", "planned"),
            Query(f"sum ({series('achieved_rate_rps')})", "achieved"),
        ],
        panel_id=11,
        place=Place(x=0, y=y, w=12, h=8),
        unit="reqps",
    )
    yield lines(
        "In flight and users",
        "Requests sent and not yet ended, and the users of a closed loop.",
        [
            Query(f"sum ({series('requests_in_flight')})", "in flight"),
            Query(f"sum ({series('users')})", "users"),
        ],
        panel_id=12,
        place=Place(x=12, y=y, w=12, h=8),
        unit="short",
    )


def latency(y: int) -> Iterator[Builder[models.Panel]]:
    shown = (
        ("ttft", "TTFT", "Time to the first token of any kind, from the intended start."),
        ("ttfvt", "TTFVT", "Time to the first visible token: content after reasoning, or a tool call."),
        ("itl", "ITL", "Gap between successive content chunks of a stream."),
        ("tpot", "TPOT", "(last token - first token)/(tokens - 1), one value a request."),
        ("e2e", "E2E", "Intended start to the last token."),
    )
    for place, (metric, title, description) in enumerate(shown):
        yield lines(
            f"{title} quantiles",
            f"{description} Failures count as +inf, drawn at the highest bucket.",
            [Query(quantile(q, metric), name) for name, q in QUANTILES],
            panel_id=21 + place,
            place=Place(x=8 * (place % 3), y=y + 8 * (place // 3), w=8, h=8),
            unit="s",
        )
    yield heat(
        "TTFT heatmap",
        "Requests by time to the first token: two bands are two populations, which no quantile shows.",
        Query(f"sum by (le) (increase({series('ttft_seconds_bucket')}[$__rate_interval]))", "{{le}}"),
        panel_id=26,
        place=Place(x=16, y=y + 8, w=8, h=8),
        unit="s",
    )


def outcomes(y: int) -> Iterator[Builder[models.Panel]]:
    yield lines(
        "Outcomes",
        "Requests a second by how they ended. Everything but success counts against goodput.",
        [Query(rate("requests_total", by="outcome"), "{{outcome}}")],
        panel_id=31,
        place=Place(x=0, y=y, w=8, h=8),
        unit="reqps",
        stacked=True,
    )
    yield lines(
        "SLO attainment",
        "Share of the offered requests that met each objective; all = every limit at once.",
        [Query(f"{rate('slo_good_total', by='slo')} / {rate('slo_offered_total', by='slo')}", "{{slo}}")],
        panel_id=32,
        place=Place(x=8, y=y, w=8, h=8),
        unit="percentunit",
    )
    yield lines(
        "Tokens by type",
        "Tokens a second; the types are disjoint: input is what was not cached, output what a user sees.",
        [Query(rate("tokens_total", by="type"), "{{type}}")],
        panel_id=33,
        place=Place(x=16, y=y, w=8, h=8),
        unit="short",
        stacked=True,
    )


def cost(y: int) -> Iterator[Builder[models.Panel]]:
    yield lines(
        "Cost by component",
        "USD an hour at the present rate, by what it is billed for.",
        [Query(f"3600 * {rate('cost_usd_total', by='component')}", "{{component}}")],
        panel_id=41,
        place=Place(x=0, y=y, w=12, h=8),
        unit="currencyUSD",
        stacked=True,
    )
    yield number(
        "Spending rate",
        "USD an hour at the present rate.",
        Query(f"3600 * {rate('cost_usd_total')}", "USD/h"),
        panel_id=42,
        place=Place(x=12, y=y, w=6, h=8),
        unit="currencyUSD",
    )
    yield number(
        "Budget spent",
        "Share of the run's budget that the bill has used; empty where no budget is set.",
        Query(
            f"{total('cost_usd_total')} / sum (max_over_time({series('budget_usd')}[$__range]) > 0)",
            "budget",
            instant=True,
        ),
        panel_id=43,
        place=Place(x=18, y=y, w=6, h=8),
        unit="percentunit",
        thresholds=((None, "green"), (0.8, "orange"), (1, "red")),
    )


def generator(y: int) -> Iterator[Builder[models.Panel]]:
    yield lines(
        "Lag of the load generator",
        "How late requests were sent (client lag) and how late the event loop came to its timer (stall). "
        "A p99 over 10 ms makes a run INVALID: then the numbers say more of this machine than of the target.",
        [
            Query(quantile(0.99, "client_lag"), "client lag p99"),
            Query(quantile(0.99, "loop_stall"), "loop stall p99"),
        ],
        panel_id=51,
        place=Place(x=0, y=y, w=8, h=8),
        unit="s",
    )
    yield lines(
        "CPU of the load generator",
        "Of one core. Near 1 it can't keep up: add workers.",
        [Query(f"max ({series('client_cpu_ratio')})", "CPU")],
        panel_id=52,
        place=Place(x=8, y=y, w=8, h=8),
        unit="percentunit",
    )
    yield lines(
        "Retries and throttling",
        "Requests sent again a second, the share of time spent waiting to do so, and label values that were "
        "folded into _other.",
        [
            Query(rate("retries_total", by="reason"), "retries {{reason}}"),
            Query(rate("throttled_seconds_total", by="reason"), "waiting {{reason}}"),
            Query(rate("label_overflow_total", by="label"), "folded {{label}}"),
        ],
        panel_id=53,
        place=Place(x=16, y=y, w=8, h=8),
        unit="short",
    )


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
