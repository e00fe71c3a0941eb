"""Allocation: requests and idle time sum to the fleet's bill, tick by tick; who uses more pays more."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from servebench.catalog.prices import TICKS_PER_USD
from servebench.cost.allocation import GpuTime, StepUse, fleet_bill, split_ticks

ROWS = 8
rows = st.integers(0, ROWS - 1)
uses = st.builds(
    StepUse,
    seconds=st.floats(1e-3, 2),
    decode_s=st.floats(2e-3, 1),
    attention_s=st.floats(0, 2e-3),
    prefill_s=st.floats(0, 1),
    decoding=st.lists(st.tuples(rows, st.integers(1, 10**6)), max_size=6),
    prefilling=st.lists(st.tuples(rows, st.floats(1, 1e15)), max_size=4),
).filter(lambda use: bool(use.decoding or use.prefilling))


@given(total=st.integers(0, 1 << 62), weights=arrays(float, st.integers(1, 60), elements=st.floats(0, 1e9)))
def test_ticks_are_split_without_a_remainder(total: int, weights: np.ndarray) -> None:
    if not weights.sum() > 0:
        with pytest.raises(ValueError, match="weights"):
            split_ticks(total, weights)
        return
    parts = split_ticks(total, weights)
    assert sum(int(part) for part in parts) == total
    assert (parts >= 0).all()
    shares = weights / weights.sum() * total
    assert np.abs(parts - shares).max() <= 2 + 1e-9 * total


@given(
    steps=st.lists(uses, min_size=1, max_size=20),
    usd_per_h=st.decimals("0.5", "500", places=2),
    idle_s=st.floats(0, 100),
)
def test_requests_and_idle_time_sum_to_the_fleets_dollars(
    steps: list[StepUse], usd_per_h: Decimal, idle_s: float
) -> None:
    time = GpuTime(ROWS)
    for use in steps:
        time.add(use)
    busy_s = sum(use.seconds for use in steps)
    assert time.total_s.sum() == pytest.approx(busy_s, rel=1e-12)
    bill = fleet_bill(time, usd_per_h=usd_per_h, replica_s=busy_s + idle_s)
    parts = int(bill.prefill_ticks.sum()) + int(bill.decode_ticks.sum()) + bill.idle_ticks
    assert parts == bill.total_ticks
    dollars = Decimal(bill.total_ticks) / TICKS_PER_USD
    assert abs(dollars - usd_per_h * Decimal(busy_s + idle_s) / 3600) < Decimal("0.005")
    per_input, per_output, blended = bill.usd_per_mtok(input_tokens=900, output_tokens=100)
    whole = (per_input * 900 + per_output * 100) / 1_000_000
    assert abs(whole - dollars) < Decimal("1e-9")
    assert abs(blended * 1000 / 1_000_000 - dollars) < Decimal("1e-9")


def test_a_long_context_pays_for_what_it_reads() -> None:
    """Two sequences, one with three times the context: the reading splits 1 : 3, the rest evenly."""
    time = GpuTime(2)
    time.add(StepUse(1.0, 0.8, 0.4, 0.0, [(0, 1_000), (1, 3_000)], []))
    assert time.decode_s.tolist() == pytest.approx([0.25 + 0.125, 0.25 + 0.375])
    assert time.prefill_s.tolist() == [0, 0]


def test_a_step_splits_as_prefill_to_decode() -> None:
    """t_p : t_d = 3 : 1 of a step of 2 s; the prompts by their FLOP, 1 : 2."""
    time = GpuTime(3)
    time.add(StepUse(2.0, 0.1, 0.0, 0.3, [(0, 10)], [(1, 1e12), (2, 2e12)]))
    assert time.decode_s.tolist() == pytest.approx([0.5, 0, 0])
    assert time.prefill_s.tolist() == pytest.approx([0, 0.5, 1.0])


def test_what_cannot_be_split_is_refused() -> None:
    with pytest.raises(ValueError, match="nobody"):
        GpuTime(1).add(StepUse(1.0, 1.0, 0.0, 0.0, [], []))
    time = GpuTime(1)
    time.add(StepUse(2.0, 1.0, 0.0, 0.0, [(0, 1)], []))
    with pytest.raises(ValueError, match="were used of"):
        fleet_bill(time, usd_per_h=Decimal(1), replica_s=1.0)
    bill = fleet_bill(time, usd_per_h=Decimal(1), replica_s=4.0)
    assert abs(bill.idle_ticks * 2 - bill.total_ticks) <= 1
    with pytest.raises(ValueError, match="tokens of both kinds"):
        bill.usd_per_mtok(input_tokens=0, output_tokens=1)
