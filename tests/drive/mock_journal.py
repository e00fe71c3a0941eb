"""The mock's journal beside a run's records: the two sides of each bill."""

import json
import urllib.request
from typing import Any

from servebench.catalog.load import load_catalog
from servebench.catalog.prices import TICKS_PER_USD
from servebench.cost.bill import Usage, bill


def journal(url: str) -> dict[str, dict[str, Any]]:
    """Entries by request id."""
    with urllib.request.urlopen(f"{url}/admin/journal", timeout=10) as response:
        entries = [json.loads(line) for line in response.read().splitlines()]
    return {entry["request_id"]: entry for entry in entries if entry["request_id"]}


def ticks(usd: str) -> int:
    whole, _, part = usd.partition(".")
    return int(whole) * TICKS_PER_USD + int(part.ljust(10, "0"))


def own_ticks(row: dict[str, Any]) -> int:
    """Our bill of a record's usage, by the catalog's prices; the server's own figure has no part in it."""
    usage = Usage(
        row["prompt_tokens"], row["cached_tokens"] or 0,
        row["completion_tokens"], row["reasoning_tokens"] or 0, service_tier=row["service_tier"],
    )  # fmt: skip
    return bill(usage, load_catalog().price(row["model"])).total_ticks


def assert_bills_agree(rows: list[dict[str, Any]], entries: dict[str, dict[str, Any]]) -> None:
    """Records whose usage arrived intact: what the client computes is what the mock billed, to the tick."""
    assert rows
    for row in rows:
        billed = entries[row["request_id"]]["billed_ticks"]
        assert own_ticks(row) == ticks(row["cost_usd"]) == billed, row["id"]
