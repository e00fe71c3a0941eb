"""The vectorised metrics are the record's own, and goodput follows its definition."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servebench.meter.record import Outcome
from servebench.results.columns import coded
from servebench.results.slo import Goodput, parse_goodput, parse_slo
from tests.results import made_run
from tests.results.made_run import columns_of
from tests.results.records import made_runs

METRICS = ("ttft", "ttfvt", "tpot", "e2e", "service_ttft")


@given(made=made_runs())
@settings(deadline=None, max_examples=60)
def test_metrics_are_those_of_the_record(made: made_run.Made) -> None:
    columns = columns_of(made)
    for metric in METRICS:
        for value, (record, _) in zip(columns.latency_s(metric), made, strict=True):
            own = getattr(record, f"{metric}_s")
            if not record.ok:
                assert math.isinf(value)
            elif own is None:
                assert math.isnan(value) if metric == "tpot" else math.isinf(value)
            else:
                assert value == pytest.approx(own, rel=1e-12, abs=1e-15)
    for value, (record, _) in zip(columns.latency_s("client_lag"), made, strict=True):
        assert math.isnan(value) if record.sent_ns is None else value == pytest.approx(record.client_lag_s)
    gaps = [us / 1e6 for _, times in made for us in times[1:]]
    assert sorted(columns.latency_s("itl")) == sorted(gaps)


@given(made=made_runs())
@settings(deadline=None, max_examples=60)
def test_good_is_a_success_within_every_limit(made: made_run.Made) -> None:
    columns = columns_of(made)
    goodput = parse_goodput(["ttft:500", "tpot:50"])

    def within(value: float | None, limit: float) -> bool:
        return value is not None and value <= limit

    expected = [
        record.ok and within(record.ttft_s, 0.5) and within(record.tpot_s, 0.05) for record, _ in made
    ]
    assert columns.good((), goodput).tolist() == expected
    assert columns.good((), None).tolist() == [record.ok for record, _ in made]
    of_chat = Goodput(goodput.limits_s, (("chat", (("e2e", 1.0),)),))
    assert columns.good((), of_chat).tolist() == [
        record.ok and (within(record.e2e_s, 1.0) if record.class_name == "chat" else good)
        for (record, _), good in zip(made, expected, strict=True)
    ]
    slo = parse_slo("chat: ttft p99 <= 500ms")
    assert columns.good([slo], None).tolist() == [
        record.ok and (record.class_name != "chat" or within(record.ttft_s, 0.5)) for record, _ in made
    ]


@given(made=made_runs())
@settings(deadline=None, max_examples=60)
def test_selecting_takes_rows_and_their_gaps(made: made_run.Made) -> None:
    columns = columns_of(made)
    rows = np.array([record.class_name == "chat" for record, _ in made], dtype=bool)
    chosen = [one for one in made if one[0].class_name == "chat"]
    part, direct = columns.select(rows), columns_of(chosen)
    assert part.gaps_us.tolist() == direct.gaps_us.tolist()
    assert part.gap_counts.tolist() == direct.gap_counts.tolist()
    for metric in METRICS:
        np.testing.assert_array_equal(part.latency_s(metric), direct.latency_s(metric))


def test_tokens_are_disjoint_and_whole() -> None:
    made = made_run.make(10, failed_share=0.3)
    tokens = columns_of(made).tokens()
    for position, (record, _) in enumerate(made):
        assert tokens["input"][position] + tokens["cached_input"][position] == (record.prompt_tokens or 0)


def test_objectives_judge_in_time_order() -> None:
    made = made_run.make(50)
    made[7] = (made_run.failed(7, "chat", made[7][0].intended_ns, made[7][0].sent_ns), made[0][1][:0])
    shuffled = [made[position] for position in np.random.default_rng(0).permutation(50)]
    for text in ("ttft p99 < 2s", "error_rate < 1%", "e2e p99 < 9s"):
        good = columns_of(shuffled).meets(parse_slo(text))
        assert np.flatnonzero(~good).tolist() == [7]


def test_gaps_are_judged_in_time_order() -> None:
    made = made_run.make(30)
    for number, (_, times) in enumerate(made):
        times[1] = number
    shuffled = [made[position] for position in np.random.default_rng(0).permutation(30)]
    good = columns_of(shuffled).meets(parse_slo("itl p99 <= 14us"))
    first_gaps = np.cumsum([0] + [len(times) - 1 for _, times in made[:-1]])
    assert good[first_gaps].tolist() == [number <= 14 for number in range(30)]


def test_a_limit_that_grows_with_the_prompt() -> None:
    made = made_run.make(20, ttft_s=0.2)
    prompts = columns_of(made).numbers["prompt_tokens"]
    assert (prompts == 1000).all()
    assert columns_of(made).meets(parse_slo("ttft p99 < 1us + 1ms/token")).all()
    assert not columns_of(made).meets(parse_slo("ttft p99 < 1us + 1us/token")).any()


def test_unsent_requests_have_no_lag_and_no_ttft() -> None:
    record = made_run.failed(0, "chat", 5, None, Outcome.UNSENT)
    columns = columns_of([(record, made_run.make(1)[0][1][:0])])
    assert math.isnan(columns.latency_s("client_lag")[0])
    assert math.isinf(columns.latency_s("ttft")[0])


@given(made=made_runs(), data=st.data())
@settings(deadline=None, max_examples=60)
def test_rows_taken_in_an_order_keep_their_gaps(made: made_run.Made, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(made))))
    start = data.draw(st.integers(0, len(made)))
    stop = data.draw(st.integers(start, len(made)))
    taken = columns_of(made).take(np.array(order, dtype=np.int64)).between(start, stop)
    kept = [made[position] for position in order[start:stop]]
    ends = [record.end_ns for record, _ in kept]
    assert taken.numbers["end_ns"].tolist() == ends
    assert [taken.class_names[code] for code in taken.class_code] == [one.class_name for one, _ in kept]
    assert taken.gaps_us.tolist() == [us for _, times in kept for us in times[1:]]
    assert taken.gap_counts.tolist() == [len(times[1:]) for _, times in kept]


@given(st.lists(st.none() | st.sampled_from("abc")))
def test_a_code_leads_back_to_its_value(values: list[str | None]) -> None:
    codes, different = coded(values)
    assert [different[code] for code in codes.tolist()] == values
    assert len(set(different)) == len(different)
