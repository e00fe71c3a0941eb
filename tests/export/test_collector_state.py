"""The collector's totals: additive, bounded in series, and honest at the edges."""

import random
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from servebench.export.collector_state import CollectorState
from servebench.export.metric_names import MAX_HISTOGRAM_CHILDREN, MAX_SERIES, MAX_VALUES, OTHER
from servebench.results.live import LiveStats
from servebench.results.slo import parse_slo
from tests.export.made_run import made_run
from tests.export.scraping import value, values

ENDED = list(made_run(requests=60, rate_rps=20, fault_share=0.1))
SLOS = [parse_slo("ttft p99 < 250ms"), parse_slo("tpot p95 < 11ms")]


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def page_of(state: CollectorState) -> str:
    registry = CollectorRegistry()
    registry.register(state)
    return generate_latest(registry).decode()


def delta_of(positions: list[int]) -> dict[str, Any]:
    live = LiveStats(SLOS)
    for position in positions:
        one = ENDED[position]
        live.add(one.record, one.chunk_us, cost_ticks=one.cost_ticks)
    return live.take()


@settings(max_examples=25, deadline=None)
@given(shards=st.integers(1, 8), seed=st.integers(0, 2**32))
def test_any_split_over_shards_in_any_order_shows_the_same(shards: int, seed: int) -> None:
    rng = random.Random(seed)
    parts: list[list[int]] = [[] for _ in range(shards)]
    for position in range(len(ENDED)):
        rng.choice(parts).append(position)
    rng.shuffle(parts)
    split, whole = CollectorState(Clock()), CollectorState(Clock())
    for part in parts:
        split.apply({"delta": delta_of(part)})
    whole.apply({"delta": delta_of(list(range(len(ENDED))))})
    one, other = values(page_of(split)), values(page_of(whole))
    assert one.keys() == other.keys()
    for key, number in one.items():
        assert abs(number - other[key]) <= 1e-9 * abs(number), key


def test_buckets_only_grow_and_a_limit_is_an_edge() -> None:
    state = CollectorState(Clock())
    state.apply({"delta": delta_of(list(range(60)))})
    page = page_of(state)
    assert value(page, "servebench_tpot_seconds_bucket", le="0.011") > 0
    for metric in ("ttft", "itl", "tpot", "e2e", "client_lag"):
        buckets = sorted(
            (float(dict(labels)["le"]), number)
            for (name, labels), number in values(page).items()
            if name == f"servebench_{metric}_seconds_bucket"
        )
        assert all(low[1] <= high[1] for low, high in pairwise(buckets))
        assert buckets[-1] == (float("inf"), value(page, f"servebench_{metric}_seconds_count"))


def test_labels_past_their_limit_are_folded_and_counted() -> None:
    state = CollectorState(Clock())
    for number in range(500):
        state.apply({"retries": {f"reason {number}": 1}, "throttled_s": {f"reason {number}": 0.5}})
    live = LiveStats([parse_slo(f"ttft p99 < {number + 1}us") for number in range(500)])
    state.apply({"delta": live.take()})
    page = page_of(state)
    shown = values(page)
    assert value(page, "servebench_retries_total", reason=OTHER) == 500 - MAX_VALUES
    assert sum(v for (name, _), v in shown.items() if name == "servebench_retries_total") == 500
    assert value(page, "servebench_throttled_seconds_total", reason=OTHER) == (500 - MAX_VALUES) * 0.5
    assert value(page, "servebench_label_overflow_total", label="reason") == 2 * (500 - MAX_VALUES)
    assert value(page, "servebench_label_overflow_total", label="slo") == 500 - MAX_VALUES
    assert len(shown) <= MAX_SERIES
    assert sum(name.endswith("_count") for name, _ in shown) <= MAX_HISTOGRAM_CHILDREN
    long = CollectorState(Clock())
    long.apply({"retries": {"x" * 10_000: 1}})
    assert len(page_of(long)) < 60_000


def test_a_target_url_is_never_a_label() -> None:
    state = CollectorState(Clock())
    state.apply({"labels": {"target": "https://key@example.org/v1", "run_id": "r"}})
    page = page_of(state)
    assert "example" not in page
    assert 'target="other"' in page


def test_achieved_rate_is_of_the_last_ten_seconds() -> None:
    clock = Clock()
    state = CollectorState(clock)
    assert value(page_of(state), "servebench_achieved_rate_rps") == 0
    for _ in range(20):  # 30 requests a second
        clock.now_s += 1
        state.apply({"delta": delta_of(list(range(30)))})
    assert value(page_of(state), "servebench_achieved_rate_rps") == 30
    clock.now_s += 5  # nothing ends any more
    assert value(page_of(state), "servebench_achieved_rate_rps") == 15
    clock.now_s += 6
    assert value(page_of(state), "servebench_achieved_rate_rps") == 0
    state.apply({"gauges": {"achieved_rate_rps": 12.5}})
    assert value(page_of(state), "servebench_achieved_rate_rps") == 12.5


def test_one_phase_at_a_time_and_stalls_are_binned() -> None:
    state = CollectorState(Clock())
    state.apply({"phase": "warmup", "loop_stalls_s": [0.0004, 0.03, 9.0]})
    state.apply({"phase": "steady"})
    page = page_of(state)
    assert value(page, "servebench_phase_info", phase="steady") == 1
    assert value(page, "servebench_phase_info", phase="warmup") == 0
    assert value(page, "servebench_loop_stall_seconds_bucket", le="0.001") == 1
    assert value(page, "servebench_loop_stall_seconds_bucket", le="0.05") == 2
    assert value(page, "servebench_loop_stall_seconds_count") == 3
    assert value(page, "servebench_loop_stall_seconds_sum") == 9.0304
