"""Dollars by source and by waste are disjoint and sum; server bills are held against usage and prices."""

from array import array
from dataclasses import replace
from decimal import Decimal

import pytest

from servebench.catalog.load import load_catalog
from servebench.catalog.sheet_json import sheet_to_json
from servebench.meter.record import Outcome, RequestRecord
from servebench.results.chunk_times import ChunkTimes
from servebench.results.cost_split import catalog_price, manifest_price
from servebench.results.facts import Objectives, RunFacts
from servebench.results.money import per
from servebench.results.slo import parse_slos
from servebench.results.summary import Summary, summarise
from tests.results import made_run


def summary(records: list[RequestRecord], slo: str = "ttft p50 < 10s") -> Summary:
    chunks = ChunkTimes.of([array("i", [1000] * record.chunks) for record in records])
    slos = parse_slos([slo])
    return summarise(
        records, chunks, facts=RunFacts(duration_s=60.0), objectives=Objectives(slos, slos),
        price_of=catalog_price,
    )  # fmt: skip


def made() -> list[RequestRecord]:
    records = [record for record, _ in made_run.make(12, classes=("chat",))]
    records[1] = replace(
        records[1], outcome=Outcome.STREAM_CUT, cost_usd="0.5", cost_source="estimated", billed_ticks=None
    )
    records[2] = replace(
        records[2], outcome=Outcome.ABORTED, cost_usd="0.25", cost_source="estimated", billed_ticks=None
    )
    records[3] = replace(
        records[3], attempts=3, retry_cost_usd="0.125", retried_ns=10**9, throttled_ns=2 * 10**9
    )
    records[4] = replace(records[4], first_token_ns=records[4].intended_ns + 30 * 10**9)
    records[5] = replace(records[5], cost_source="computed", billed_ticks=None)
    return records


def test_waste_and_sources_are_disjoint_and_sum_to_the_bill() -> None:
    found = summary(made()).classes["all"].cost
    each = Decimal(made()[0].cost_usd or 0)
    assert found.usd == 10 * each + Decimal("0.875")
    assert found.wasted == {
        "failed": Decimal("0.5"), "censored": Decimal("0.25"), "retries": Decimal("0.125"), "slo_miss": each,
    }  # fmt: skip
    assert found.wasted_usd == Decimal("0.875")
    assert found.sources == {"billed": 9, "computed": 1, "estimated": 2}
    assert Decimal(found.by_source_usd["billed"]) == 9 * each
    assert Decimal(found.by_source_usd["estimated"]) == Decimal("0.75")
    assert sum(Decimal(part) for part in found.component_usd.values()) == found.usd
    assert (found.requests, found.good) == (12, 9)
    assert found.per_good_request_usd == per(found.usd, 9)
    assert (found.checked, found.differing) == (9, 0)


def test_a_bill_that_differs_is_flagged_with_the_amount() -> None:
    records = made()
    dear = Decimal(records[0].cost_usd or 0) + Decimal("0.001")
    records[0] = replace(records[0], cost_usd=str(dear))
    found = summary(records)
    cost = found.classes["all"].cost
    assert (cost.checked, cost.differing, cost.difference_usd) == (9, 1, Decimal("0.001"))
    assert any("1 of 9 bills differ from the price sheet, by $0.001" in line for line in found.warnings)
    assert found.to_json()["classes"]["all"]["bill_check"] == {
        "checked": 9, "differing": 1, "difference_usd": "0.001",
    }  # fmt: skip


def test_prices_per_million_are_the_sheets_own_where_nothing_is_wasted() -> None:
    records = [record for record, _ in made_run.make(10)]
    one = summary(records).classes["all"]
    prices = one.cost.per_mtok_usd(one.tokens)
    assert {kind: Decimal(str(text)) for kind, text in prices.items() if kind != "blended"} == {
        "input": Decimal("1.25"), "cached_input": Decimal("0.2"), "output": Decimal("2.5"),
    }  # fmt: skip
    assert prices["blended"] == one.usd_per_million_tokens


def test_waits_by_rule_stand_apart_from_latency() -> None:
    found = summary(made())
    assert found.network is not None
    assert found.network.throttled == 1
    waited = made()[3]
    assert waited.ttft_s == pytest.approx((waited.first_token_ns or 0) / 1e9 - waited.intended_ns / 1e9 - 2)
    lag_s = ((waited.sent_ns or 0) - waited.intended_ns) / 1e9 - 3
    assert waited.client_lag_s == pytest.approx(lag_s)


def test_a_run_is_billed_again_by_its_own_sheet() -> None:
    sheet = load_catalog().price("grok-3-mini")
    price_of = manifest_price({"model": "grok-4.3", "price_sheet": sheet_to_json(sheet)})
    assert price_of("grok-4.3") == replace(sheet, source=price_of("grok-4.3").source)  # type: ignore[union-attr]
    assert price_of("grok-4.5") == catalog_price("grok-4.5")
    for without in ({}, {"price_sheet": None}):
        assert manifest_price({"model": "grok-4.3", **without})("grok-4.3") == catalog_price("grok-4.3")
