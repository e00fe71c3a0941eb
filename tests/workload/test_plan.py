"""A plan holds everything: the same workload on any worker, by JSON, by slices, open or closed."""

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servebench.errors import UsageError
from servebench.workload.plan import WorkloadPlan
from tests.workload.plans import CHAT, plan

CLOSED = {"load": {"users": 5, "think_time_s": {"dist": "exponential", "mean": 2.0}, "duration_s": 30}}
LONG = {"name": "long", "weight": 0.5, "input_tokens": {"dist": "uniform", "min": 64000, "max": 128000}}


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**40), st.sampled_from([1, 2, 4]))
def test_the_slices_of_all_workers_are_the_whole_with_every_id_once(seed: int, workers: int) -> None:
    one = plan(CHAT, LONG, seed=seed)
    whole = one.build()
    got: dict[int, tuple[int, Any]] = {}
    for k in range(workers):
        workload = WorkloadPlan.model_validate_json(one.model_dump_json()).build()
        assert workload.schedule_hash == whole.schedule_hash
        for id in range(k, len(workload.intended_ns), workers):
            assert id not in got
            got[id] = (int(workload.intended_ns[id]), workload.spec(id))
    assert got == {id: (int(t), whole.spec(id)) for id, t in enumerate(whole.intended_ns)}


def test_the_round_trip_through_json_is_exact() -> None:
    own = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    tools = {
        **CHAT,
        "name": "t",
        "tools": ["run_sql", own],
        "tool_choice": "f",
        "shared_prefix": {"tokens": 300},
    }
    for one in (plan(CHAT, tools), plan(tools, scenario_fields=CLOSED, seed=2**60), plan(duration_s=0.1)):
        again = WorkloadPlan.model_validate_json(one.model_dump_json())
        assert again == one
        assert again.build().schedule_hash == one.build().schedule_hash


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 2},
        {"duration_s": 9.0},
        {"rate_rps": 21.0},
        {"preamble_tokens": 191},
        {"bytes_per_token": 4.1},
        {"model": "grok-5-large"},
        {"users": 3},
    ],
)
def test_the_hash_tells_every_change_of_what_is_sent(change: dict[str, Any]) -> None:
    base = plan(CHAT)
    assert base.model_copy(update=change).build().schedule_hash != base.build().schedule_hash


def test_the_hash_tells_changes_of_classes_that_leave_the_vectors_alone() -> None:
    base = {"name": "c", "input_tokens": 900}
    constant = {"scenario_fields": {"load": {"rate_rps": 5, "process": "constant", "duration_s": 5}}}
    variants = [
        base,
        {**base, "reasoning_effort": "low"},
        {**base, "name": "d"},
        {**base, "tools": ["run_sql"]},
    ]
    hashes = {plan(cls, **constant, seed=seed).build().schedule_hash for cls in variants for seed in (1, 2)}
    assert len(hashes) == 8


def test_classes_come_by_their_weights_and_in_no_pattern() -> None:
    workload = plan(CHAT, LONG, rate_rps=2000.0).build()
    columns = workload.columns()
    share = columns.class_index.mean()
    n = len(columns.class_index)
    assert share == pytest.approx(1 / 3, abs=4 * (2 / 9 / n) ** 0.5)
    assert abs(np.corrcoef(columns.class_index[:-1], columns.class_index[1:])[0, 1]) < 4 / n**0.5
    long = columns.prompt_tokens[columns.class_index == 1]
    assert (long.min() >= 64000, long.max() <= 128000) == (True, True)
    zero = plan(CHAT, {**LONG, "weight": 0}).build().columns()
    assert not zero.class_index.any()


@given(st.integers(0, 10**9), st.integers(1, 50))
def test_a_closed_loop_has_specs_for_any_id_and_each_stands_alone(start: int, count: int) -> None:
    workload = plan(CHAT, LONG, scenario_fields=CLOSED).build()
    columns = workload.columns(start, count)
    for k in range(count):
        spec = workload.spec(start + k)
        assert spec.id == start + k
        assert spec.prompt_tokens == columns.prompt_tokens[k]


def test_a_closed_loop_thinks_by_id_with_the_mean_asked() -> None:
    workload = plan(scenario_fields=CLOSED).build()
    assert (workload.mode, workload.users, len(workload.intended_ns)) == ("closed", 5, 0)
    think_s = [workload.think_time_s(id) for id in range(3000)]
    again = plan(scenario_fields=CLOSED).build()
    assert think_s == [again.think_time_s(id) for id in range(3000)]
    assert np.mean(think_s) == pytest.approx(2.0, rel=0.1)
    assert plan().build().think_time_s(3) == 0.0


def test_blocks_of_a_closed_loop_do_not_pile_up() -> None:
    workload = plan(scenario_fields=CLOSED).build()
    first = workload.spec(3)
    for id in range(0, 1_000_000, 5_000):
        workload.spec(id)
    assert len(workload._blocks) <= 8
    assert workload.spec(3) == first


@pytest.mark.parametrize(
    ("fields", "duration_s", "warmup_s"),
    [
        ({}, 10, 0),
        ({"duration_s": 59.0}, 59, 0),
        ({"duration_s": 60.0}, 60, 6),
        ({"duration_s": 600.0}, 600, 60),
        ({"duration_s": 600.0, "warmup_s": 5.0}, 600, 5),
        ({"warmup_s": 3.0}, 10, 3),
        ({"scenario_fields": {"warmup_s": 4}}, 10, 4),
        ({"scenario_fields": {"warmup_s": 4}, "duration_s": 3.0}, 3, 0),  # cut shorter than its own warm-up
        ({"users": 2, "duration_s": 100.0}, 100, 10),
    ],
)
def test_duration_and_warmup_follow_the_rule(
    fields: dict[str, Any], duration_s: float, warmup_s: float
) -> None:
    workload = plan(**fields).build()
    assert workload.duration_s == duration_s
    assert workload.warmup_s == pytest.approx(warmup_s)


def test_overrides_choose_the_loop() -> None:
    assert plan(users=7).build().users == 7
    opened = plan(scenario_fields=CLOSED, rate_rps=50.0).build()
    assert opened.mode == "open"
    assert len(opened.intended_ns) == pytest.approx(1500, abs=200)
    assert plan(model="grok-5-mid").build().spec(0).model == "grok-5-mid"


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"rate_rps": 1.0, "users": 2}, "exclude each other"),
        ({"warmup_s": 10.0}, "leaves nothing"),
        ({"context_length_tokens": 197}, "leaves nothing of a context window of 197"),
    ],
)
def test_contradictions_are_refused_in_a_sentence(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        plan(**fields).build()


@pytest.mark.parametrize("id", [-1, 10**6])
def test_ids_outside_the_schedule_are_index_errors(id: int) -> None:
    with pytest.raises(IndexError):
        plan().build().spec(id)


def test_a_hundred_thousand_arrivals_are_built_in_under_a_second() -> None:
    one = plan(CHAT, {**LONG, "shared_prefix": {"tokens": 48000, "variants": 5}}, rate_rps=10_000.0)
    begin = time.perf_counter()
    workload = one.build()
    assert time.perf_counter() - begin < 1
    assert len(workload.intended_ns) == pytest.approx(100_000, rel=0.02)
