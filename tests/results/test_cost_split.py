"""The split of many records at once is each record's own bill."""

from array import array
from dataclasses import replace
from datetime import date

from hypothesis import given, settings
from hypothesis import strategies as st

from servebench.catalog.load import load_catalog
from servebench.catalog.prices import TICKS_PER_USD
from servebench.cost.bill import Usage, bill, usd_text
from servebench.meter.record import RequestRecord
from servebench.results.columns import Columns
from servebench.results.cost_split import COMPONENTS, catalog_price, component_rows
from tests.results import made_run

NO_TIMES: "array[int]" = array("i")
COUNTS = st.integers(0, 400_000)


@st.composite
def billed(draw: st.DrawFn) -> RequestRecord:
    """Usage on both sides of the long-context threshold, at either tier; billed by the sheet and a bit."""
    record, _ = made_run.make(1)[0]
    prompt, tier = draw(COUNTS), draw(st.sampled_from([None, "default", "priority"]))
    model = draw(st.sampled_from(["grok-4.3", "grok-5-small", "nobody-knows-it"]))
    return replace(
        record,
        model=model,
        service_tier=tier,
        prompt_tokens=prompt,
        cached_tokens=draw(st.none() | st.integers(0, prompt)),
        completion_tokens=draw(COUNTS),
        reasoning_tokens=draw(st.none() | COUNTS),
        cost_usd=draw(st.none() | st.just("0") | st.integers(1, 10**12).map(usd_text)),
    )


def columns_of(records: list[RequestRecord]) -> Columns:
    return made_run.columns_of([(record, NO_TIMES) for record in records])


@given(st.lists(billed(), max_size=20))
@settings(deadline=None, max_examples=100)
def test_each_row_is_the_records_own_bill_and_the_rest_is_unexplained(records: list[RequestRecord]) -> None:
    rows = component_rows(records, columns_of(records), catalog_price)
    assert rows.shape == (len(records), len(COMPONENTS) + 1)
    for record, row in zip(records, rows.tolist(), strict=True):
        total = round(float(record.cost_usd or 0) * TICKS_PER_USD)
        assert sum(row) == total
        sheet = catalog_price(record.model)
        if not total or sheet is None:
            assert row[:-1] == [0] * len(COMPONENTS)
            continue
        if record.service_tier == "priority" and sheet.priority_multiplier is None:
            assert row[:-1] == [0] * len(COMPONENTS)
            continue
        usage = Usage(
            record.prompt_tokens or 0,
            record.cached_tokens or 0,
            record.completion_tokens or 0,
            record.reasoning_tokens or 0,
            service_tier=record.service_tier,
        )
        own = bill(usage, sheet)
        assert row[:4] == [own.input_ticks, own.cached_ticks, own.output_ticks, own.reasoning_ticks]


def test_usage_that_cannot_be_is_not_split() -> None:
    record, _ = made_run.make(1)[0]
    impossible = [
        replace(record, cached_tokens=2000),
        replace(record, prompt_tokens=10**30),
        replace(record, completion_tokens=-1),
        replace(record, usage_source="counted"),
        replace(record, prompt_tokens=None),
    ]
    records = [*impossible, record]
    rows = component_rows(records, columns_of(records), catalog_price)
    assert not rows[:-1, :-1].any()
    assert rows[:-1, -1].tolist() == [record.billed_ticks] * len(impossible)
    assert rows[-1].sum() == record.billed_ticks
    assert not rows[-1, -1]


def test_the_priced_model_has_a_long_context_level() -> None:
    sheet = load_catalog().price("grok-4.3", date(2026, 11, 1))
    assert sheet.long is not None
    assert sheet.threshold_tokens is not None
    assert sheet.threshold_tokens < 400_000  # or the law above would never cross it
