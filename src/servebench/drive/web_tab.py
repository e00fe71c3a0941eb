"""A tab in Locust's web UI with what its own tables can't show: TTFT, ITL, TPOT, goodput, tokens, dollars.

Locust's page polls /stats/requests; the figures ride along in its answer.
"""

import json
from collections.abc import Callable
from typing import Any

from servebench.drive.conductor import Conductor

_LATENCIES = (
    ("ttft", "TTFT, from the intended start (ms)"),
    ("ttfvt", "Time to first visible token (ms)"),
    ("itl", "ITL, gap between chunks (ms)"),
    ("tpot", "TPOT (ms)"),
    ("e2e", "E2E (ms)"),
    ("client_lag", "Client lag (ms)"),
)
_COLUMNS = (("metric", "Metric"), ("n", "n / total"), ("p50", "p50"), ("p95", "p95"), ("p99", "p99"))


def add_tab(web_ui: Any, conductor: Callable[[], Conductor | None]) -> None:
    """Call once, at Locust's init."""
    web_ui.template_args["extended_tabs"] = [{"title": "LLM", "key": "llm"}]
    web_ui.template_args["extended_tables"] = [
        {
            "key": "llm",
            "structure": [{"key": key, "title": title} for key, title in _COLUMNS],
        }
    ]

    @web_ui.app.after_request  # type: ignore[untyped-decorator]
    def ride_along(response: Any) -> Any:
        from flask import request

        now = conductor()
        if now is not None and request.path.endswith("/stats/requests") and response.is_json:
            stats = [{"key": "llm", "data": rows(now)}]
            response.set_data(json.dumps({**response.json, "extended_stats": stats}))
        return response


def rows(conductor: Conductor) -> list[dict[str, Any]]:
    """The table's rows: latencies in milliseconds, then totals."""
    now = conductor.live.snapshot()
    table: list[dict[str, Any]] = []
    for metric, title in _LATENCIES:
        quantiles = now["quantiles"][metric]
        row: dict[str, Any] = {"metric": title, "n": quantiles["n"]}
        for name in ("p50", "p95", "p99"):
            value = quantiles[name]
            row[name] = "" if value is None else "failed" if value == float("inf") else round(value * 1e3, 3)
        table.append(row)
    counts = now["counts"]
    share = counts["goodput_good"] / counts["goodput_offered"] if counts["goodput_offered"] else None
    totals = {
        "Offered requests": sum(now["outcomes"].values()),
        "Failed requests": sum(now["outcomes"].values()) - now["outcomes"]["success"],
        "Good requests (all objectives met)": "" if share is None else f"{share:.1%}",
        **{f"Tokens, {kind.replace('_', ' ')}": count for kind, count in now["tokens"].items()},
        "Cost (USD)": f"{now['cost_ticks'] / 1e10:.6f}",
    }
    return table + [
        {"metric": title, "n": value, "p50": "", "p95": "", "p99": ""} for title, value in totals.items()
    ]
