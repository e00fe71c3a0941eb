"""Whose word a cost is, and whether a budget may count on it."""

from dataclasses import replace

import pytest

from servebench.catalog.load import load_catalog
from servebench.drive.billing import VIOLATION_TICKS, Biller
from servebench.meter.record import Outcome, RequestRecord
from tests.results import made_run

BILLER = Biller(load_catalog().price("grok-4.3"))
RECORD: RequestRecord = made_run.make(1)[0][0]
OWN = (1000 - 300) * 12_500 + 300 * 2_000 + 20 * 25_000


def cost(record: RequestRecord, biller: Biller = BILLER) -> tuple[int | None, str, int | None]:
    found = biller.cost(record, prompt_tokens=900)
    return found.ticks, found.source, found.settled_ticks


def test_the_servers_bill_goes_before_ours_which_goes_before_a_guess() -> None:
    assert cost(RECORD) == (OWN, "billed", OWN)
    assert cost(replace(RECORD, billed_ticks=OWN + 7)) == (OWN + 7, "billed", OWN + 7)
    assert BILLER.cost(replace(RECORD, billed_ticks=OWN + 7), prompt_tokens=900).parts["unexplained"] == 7
    assert cost(replace(RECORD, billed_ticks=None)) == (OWN, "computed", OWN)
    guessed = replace(RECORD, billed_ticks=None, usage_source="counted", reasoning_chunks=5)
    assert cost(guessed) == (900 * 12_500 + 20 * 25_000, "estimated", None)


@pytest.mark.parametrize(
    ("outcome", "sent", "settled"),
    [
        (Outcome.SHED, None, 0),
        (Outcome.UNSENT, None, 0),
        (Outcome.CONNECT_ERROR, None, 0),
        (Outcome.HTTP_429, 5, 0),
        (Outcome.HTTP_4XX, 5, 0),
        (Outcome.HTTP_5XX, 5, None),
        (Outcome.TIMEOUT_FIRST, 5, None),
        (Outcome.STREAM_CUT, 5, None),
        (Outcome.ABORTED, 5, None),
    ],
)
def test_what_a_budget_may_count_as_settled(outcome: Outcome, sent: int | None, settled: int | None) -> None:
    record = replace(made_run.failed(0, "chat", 0, sent, outcome), cost_usd=None, cost_source=None)
    assert cost(record)[2] == settled
    assert cost(record, Biller(None))[2] == settled
    assert cost(record, Biller(None))[0] is None


def test_tools_that_the_server_used_are_charged() -> None:
    """5,467 prompt tokens (1,152 cached), 593 output and one web search on grok-4.6: a recorded bill."""
    biller = Biller(load_catalog().price("grok-4.6"))
    record = replace(
        RECORD, model="grok-4.6", prompt_tokens=5467, cached_tokens=1152, completion_tokens=93,
        reasoning_tokens=500, billed_ticks=177_640_000, server_tools={"web_search_calls": 1},
    )  # fmt: skip
    found = biller.cost(record, prompt_tokens=5467)
    assert "unexplained" not in found.parts
    assert found.parts["tool"] == 50_000_000
    assert biller.cost(replace(record, billed_ticks=None), prompt_tokens=1).ticks == 177_640_000


def test_a_refused_violation_costs_its_published_fee() -> None:
    refused = replace(
        made_run.failed(0, "chat", 0, 5, Outcome.HTTP_4XX), cost_usd=None, cost_source=None,
        error="Content violates usage guidelines. Failed check: SAFETY_CHECK_TYPE_CYBER",
    )  # fmt: skip
    assert cost(refused) == (VIOLATION_TICKS, "estimated", VIOLATION_TICKS)
    assert VIOLATION_TICKS == 0.05 * 10**10
