"""The rows of the load-test dashboard: each yields its panels from grid row y on.

Big numbers are of the whole run so far: the collector starts with the run, so a counter's highest value in
the range is the run's exact total (increase() extrapolates past the first and the last scrape). Lines are
rates over $__rate_interval.
"""

from collections.abc import Iterator
from typing import Final

from grafana_foundation_sdk.builders import stat
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models

from grafana.panels import Figure, Place, Query, heat, lines, number
from grafana.queries import (
    ENDED_WELL,
    EVERY_LIMIT,
    FAILED,
    GENERATED,
    QUANTILES,
    quantile,
    quantile_of_run,
    rate,
    series,
    total,
)

_OVERVIEW: Final = (
    Figure(
        "Requests/s",
        "Successful requests a second, now.",
        Query(rate("requests_total", ENDED_WELL), "requests/s"),
        unit="reqps",
        decimals=1,
    ),
    Figure(
        "Output tokens/s",
        "Visible and reasoning tokens a second over all requests, now.",
        Query(rate("tokens_total", GENERATED), "tokens/s"),
        unit="short",
        decimals=0,
    ),
    Figure(
        "TTFT p95",
        "Time to the first token of any kind, from the intended start; the whole run so far, failures at "
        "+inf. Read from buckets: the run's own report has the exact value.",
        Query(quantile_of_run(0.95, "ttft"), "TTFT p95", instant=True),
        unit="s",
    ),
    Figure(
        "ITL p95",
        "Gap between successive content chunks; the whole run so far.",
        Query(quantile_of_run(0.95, "itl"), "ITL p95", instant=True),
        unit="s",
    ),
    Figure(
        "Errors",
        "Share of the offered requests that did not succeed; the whole run so far.",
        Query(
            f"{total('requests_total', FAILED)} / {total('requests_total')}",
            "errors",
            instant=True,
        ),
        unit="percentunit",
        decimals=2,
        thresholds=((None, "green"), (0.01, "orange"), (0.05, "red")),
    ),
    Figure(
        "Goodput",
        "Share of the offered requests that met every limit of the run; without limits, that succeeded.",
        Query(
            f"{total('slo_good_total', EVERY_LIMIT)} / {total('slo_offered_total', EVERY_LIMIT)}",
            "goodput",
            instant=True,
        ),
        unit="percentunit",
        decimals=2,
        thresholds=((None, "red"), (0.95, "orange"), (0.99, "green")),
    ),
    Figure(
        "Cost so far",
        "The API bill of the run in USD, by usage and dated prices.",
        Query(total("cost_usd_total"), "USD", instant=True),
        unit="currencyUSD",
    ),
    Figure(
        "$ per million tokens",
        "The bill over all tokens, input and output.",
        Query(f"1e6 * {total('cost_usd_total')} / {total('tokens_total')}", "USD per million", instant=True),
        unit="currencyUSD",
    ),
)


def overview(y: int) -> Iterator[stat.Panel]:
    """The row of big numbers."""
    for column, figure in enumerate(_OVERVIEW):
        yield number(figure, panel_id=2 + column, place=Place(x=3 * column, y=y, w=3, h=4))


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
        Figure(
            "Spending rate",
            "USD an hour at the present rate.",
            Query(f"3600 * {rate('cost_usd_total')}", "USD/h"),
            unit="currencyUSD",
        ),
        panel_id=42,
        place=Place(x=12, y=y, w=6, h=8),
    )
    yield number(
        Figure(
            "Budget used",
            "Share of the budget that is spent, or reserved for bills to come; empty where none is set.",
            Query(
                f"(sum (last_over_time({series('budget_spent_usd')}[$__range])) + "
                f"sum (last_over_time({series('budget_reserved_usd')}[$__range]))) / "
                f"sum (max_over_time({series('budget_usd')}[$__range]) > 0)",
                "budget",
                instant=True,
            ),
            unit="percentunit",
            thresholds=((None, "green"), (0.8, "orange"), (1, "red")),
        ),
        panel_id=43,
        place=Place(x=18, y=y, w=6, h=8),
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
