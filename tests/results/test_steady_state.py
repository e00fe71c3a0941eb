"""MSER-5, batch means, the slope of saturation and Little's law, on series whose truth is known."""

from array import array
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from servebench.results.chunk_times import LOST, ChunkTimes
from servebench.results.columns import Columns
from servebench.results.facts import RunFacts
from servebench.results.flow import Flow, Little
from servebench.results.load_series import STEPS, LoadSeries, mean_in_flight
from servebench.results.saturation import saturation
from servebench.results.steady_state import MIN_BATCHES, MSER_BATCH, Window, mser5
from servebench.results.throughput import MAX_LAG1, batch_means
from tests.results import made_run
from tests.results.records import made_runs

Floats = NDArray[np.float64]
RUNS = 200


def ar1(rng: np.random.Generator, n: int, r: float) -> Floats:
    noise = rng.normal(0, (1 - r * r) ** 0.5, n)
    values = np.empty(n)
    values[0] = rng.normal()
    for place in range(1, n):
        values[place] = r * values[place - 1] + noise[place]
    return values


def naive_mser5(values: Floats) -> int:
    batches = len(values) // MSER_BATCH
    means = [float(np.mean(values[MSER_BATCH * b : MSER_BATCH * (b + 1)])) for b in range(batches)]
    scores = [
        float(np.sum((np.array(means[d:]) - np.mean(means[d:])) ** 2)) / (batches - d) ** 2
        for d in range(batches - 4)
    ]
    return scores.index(min(scores)) * MSER_BATCH


@given(st.integers(0, 10**6), st.integers(MIN_BATCHES * MSER_BATCH, 400))
def test_mser5_against_its_definition(seed: int, n: int) -> None:
    values = np.random.default_rng(seed).lognormal(3, 1, n)
    assert mser5(values) == naive_mser5(values)


def test_mser5_finds_a_start_up_and_leaves_a_steady_series_alone() -> None:
    rng = np.random.default_rng(1)
    steady = [mser5(100 + 5 * ar1(rng, 600, 0.5)) for _ in range(RUNS)]
    assert np.mean([cut is not None and cut <= 300 for cut in steady]) > 0.97
    ramp = np.minimum(np.arange(600) / 120, 1.0) * 100  # settled after a fifth
    cuts = [mser5(ramp + 2 * ar1(rng, 600, 0.5)) for _ in range(RUNS)]
    assert np.mean([cut is not None and 90 <= cut <= 200 for cut in cuts]) > 0.95
    assert all((mser5(np.arange(600) + ar1(rng, 600, 0.5)) or 0) > 300 for _ in range(20))  # never settles
    assert mser5(np.ones(MIN_BATCHES * MSER_BATCH - 1)) is None


def test_the_interval_of_the_throughput_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    made = [batch_means(1000 + 50 * ar1(rng, STEPS, 0.7)) for _ in range(400)]
    told = [one for one in made if one.low is not None and one.high is not None]
    assert len(told) > 300
    assert all(one.lag1 < MAX_LAG1 for one in told)
    hits = np.mean([one.low <= 1000 <= one.high for one in told if one.low is not None and one.high])
    assert 0.90 < hits < 0.99
    trend = batch_means(np.arange(STEPS, dtype=float))
    assert (trend.low, trend.high) == (None, None)  # neighbours go together: no interval
    assert trend.mean == pytest.approx((STEPS - 1) / 2)
    assert batch_means(np.full(STEPS, 7.0)).low == 7.0


@settings(max_examples=40)
@given(made_runs(max_size=12), st.integers(0, 30), st.integers(10, 60))
def test_the_series_is_the_records_over_time(made: made_run.Made, start_s: int, length_s: int) -> None:
    ordered = ((record, max(record.end_ns, record.sent_ns or 0), times) for record, times in made)
    made = [(replace(record, end_ns=end_ns), times) for record, end_ns, times in ordered]
    columns = Columns.of([record for record, _ in made], made_run.chunk_times(made))
    window = Window(start_s * 10**9, (start_s + length_s) * 10**9)
    series = LoadSeries.of(columns, made_run.chunk_times(made), window)
    if series is None:
        assert not made
        return
    assert series.start_s <= 0
    edges_s = series.start_s + series.step_s * np.arange(len(series.in_flight) + 1)
    assert edges_s[series.inside.start] == pytest.approx(start_s)
    assert edges_s[-1] == pytest.approx(start_s + length_s)
    area_s = sum(
        max(min(record.end_ns / 1e9, edges_s[-1]) - max(record.sent_ns / 1e9, edges_s[0]), 0)
        for record, _ in made
        if record.sent_ns is not None
    )
    assert float(series.in_flight.sum()) * series.step_s == pytest.approx(area_s, abs=1e-6)
    emitted = 0.0
    for record, times in made:
        tokens = (record.completion_tokens or 0) + (record.reasoning_tokens or 0)
        if record.sent_ns is None or not len(times):
            continue
        at_s = (record.sent_ns / 1e3 + np.cumsum(times)) / 1e6
        emitted += tokens * float(np.mean((at_s >= 0) & (at_s < edges_s[-1])))
    assert float(series.tokens_per_s.sum()) * series.step_s == pytest.approx(emitted, abs=1e-3, rel=1e-3)


def test_tokens_whose_times_are_lost_are_not_put_anywhere() -> None:
    (record, times), *_ = made_run.make(1, chunks=4)
    chunks = ChunkTimes.of([[times[0], LOST, times[2], times[3]]])
    series = LoadSeries.of(Columns.of([record], chunks), chunks, Window(0, 10**10))
    assert series is not None
    assert series.tokens_per_s.sum() == 0


def queue(rng: np.random.Generator, rho: float, seconds: float, *, servers: int = 20) -> Columns:
    """A queue of `servers` places with exponential service of 1 s on average, from empty."""
    rate = rho * servers
    starts = np.cumsum(rng.exponential(1 / rate, int(rate * seconds)))
    free = np.zeros(servers)
    made: made_run.Made = []
    for number, at_s in enumerate(starts.tolist()):
        place = int(np.argmin(free))
        begin = max(at_s, float(free[place]))
        free[place] = begin + rng.exponential(1.0)
        times = np.array([(begin - at_s) * 1e6 + 50_000, (free[place] - begin) * 1e6], dtype=np.int64)
        record = made_run.succeeded(number, "chat", round(at_s * 1e9), round(at_s * 1e9), times)
        made.append((record, array("i", times.tolist())))
    return Columns.of([record for record, _ in made], made_run.chunk_times(made))


@pytest.mark.parametrize(("rho", "low", "high"), [(0.5, 0.0, 0.05), (0.8, 0.0, 0.08), (1.3, 0.95, 1.0)])
def test_saturation_is_seen_and_not_imagined(rho: float, low: float, high: float) -> None:
    rng = np.random.default_rng(3)
    seen = []
    for _ in range(40):
        found = saturation(queue(rng, rho, 70), Window(10 * 10**9, 70 * 10**9))
        assert found is not None
        seen.append(found.saturated)
    assert low <= np.mean(seen) <= high


def test_a_short_run_says_nothing_of_saturation() -> None:
    columns = queue(np.random.default_rng(4), 2.0, 20)
    assert saturation(columns, Window(0, 20 * 10**9)) is None


def test_a_saturated_run_is_labelled() -> None:
    columns = queue(np.random.default_rng(5), 1.5, 60)
    window = Window(0, 60 * 10**9)
    flow = Flow.of(columns, ChunkTimes.of([[]] * len(columns)), window=window, facts=RunFacts())
    assert flow.saturated
    assert flow.warnings(RunFacts())[0].startswith("SATURATED")
    closed = Flow.of(
        columns, ChunkTimes.of([[]] * len(columns)), window=window, facts=RunFacts(mode="closed")
    )
    assert closed.saturation is None  # users wait: nothing can pile up


def test_littles_law_counts_the_wait_for_a_place() -> None:
    columns = queue(np.random.default_rng(6), 0.7, 60)
    window = Window(5 * 10**9, 50 * 10**9)
    at = columns.numbers
    (under_way,) = mean_in_flight(at["intended_ns"] / 1e9, at["end_ns"] / 1e9, np.array([5.0, 50.0]))
    little = Little.of(columns, window, RunFacts(mean_in_flight=float(under_way)))
    assert little is not None
    assert little.error == pytest.approx(0, abs=1e-9)
    assert little.expected == pytest.approx(little.arrivals_rps * little.mean_residence_s)
    assert Little.of(columns, window, RunFacts()) is None
