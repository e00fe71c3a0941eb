"""Verdicts: the published sample sizes of the exact test, failures in the tail, and queues that grow."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servebench.errors import UsageError
from servebench.plan.objectives import (
    Check,
    check,
    gate,
    judged,
    nearest_rank,
    queue_grows,
    samples_needed,
)
from servebench.plan.simulated import SimulationResult
from servebench.results.gate import Verdict
from servebench.results.slo import parse_slo, parse_slos


def result(**columns: object) -> SimulationResult:
    n = len(next(iter(columns.values())))  # type: ignore[arg-type]  # every column is an array
    zeros = np.zeros(n)
    fields: dict[str, object] = {
        "arrival_s": np.arange(n, dtype=float),
        "ttft_s": zeros, "tpot_s": zeros, "e2e_s": zeros, "wait_s": zeros,
        "prompt_tokens": np.full(n, 1_000), "output_tokens": np.full(n, 10), "origin": np.arange(n),
        "cached_tokens": zeros.astype(np.int64), "measured": np.arange(n) >= 0.1 * n, "refused": 0,
        "end_s": float(n), "gpu_busy_share": 0.5,
        "peak_kv_usage": 0.1, "preemptions": 0, "steps": 1, "generated_tokens": 1,
    }  # fmt: skip
    return SimulationResult(**(fields | columns))  # type: ignore[arg-type]


# MLPerf's early stopping at 99 % confidence: misses -> least n that passes
@pytest.mark.parametrize(
    ("quantile", "needed"),
    [
        (0.99, {0: 459, 1: 662, 5: 1_307, 10: 2_010, 25: 3_924}),
        (0.95, {0: 90, 1: 130, 5: 259, 10: 398}),
        (0.90, {0: 44, 1: 64, 5: 127, 10: 197}),
    ],
)
def test_passing_takes_the_published_number_of_samples(quantile: float, needed: dict[int, int]) -> None:
    for misses, n in needed.items():
        assert gate(misses, n, quantile) is Verdict.PASS
        assert gate(misses, n - 1, quantile) is Verdict.INCONCLUSIVE
        slo = parse_slo(f"ttft p{quantile * 100:g} < 2s")
        assert samples_needed([slo], misses) == n


@given(n=st.integers(1, 5_000), over=st.integers(0, 400))
def test_a_failure_is_never_a_pass_with_more_misses(n: int, over: int) -> None:
    over = min(over, n - 1)
    order = [Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.FAIL]
    assert order.index(gate(over, n, 0.99)) <= order.index(gate(over + 1, n, 0.99))


@given(st.lists(st.floats(0, 100), min_size=1, max_size=300), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_nearest_rank_is_numpys(values: list[float], quantile: float) -> None:
    expected = np.quantile(values, quantile, method="inverted_cdf")
    assert nearest_rank(np.array(values), quantile) == expected


def test_the_warm_up_does_not_count_and_failures_do() -> None:
    ttft_s = np.full(1_500, 0.5)
    ttft_s[:150] = 9.0
    ok = check_one("ttft p99 < 2s", result(ttft_s=ttft_s))
    assert (ok.verdict, ok.n, ok.over, ok.observed) == (Verdict.PASS, 1_350, 0, 0.5)
    ttft_s[200:240] = np.inf
    bad = check_one("ttft p99 < 2s", result(ttft_s=ttft_s))
    assert (bad.verdict, bad.over, bad.observed) == (Verdict.FAIL, 40, np.inf)
    assert "without end" in bad.sentence


def check_one(text: str, run: SimulationResult) -> Check:
    n = len(run.arrival_s)
    return check(
        parse_slo(text),
        run,
        class_index=np.arange(n) % 2,
        class_names=("even", "odd"),
    )


def test_classes_limits_that_grow_and_interactivity() -> None:
    tpot_s = np.where(np.arange(2_000) % 2, 0.02, 0.005)
    run = result(tpot_s=tpot_s, ttft_s=np.full(2_000, 2.05))
    assert check_one("even: tpot p99 < 10ms", run).verdict is Verdict.PASS
    odd = check_one("odd: tpot p99 < 10ms", run)
    assert (odd.verdict, odd.n) == (Verdict.FAIL, 900)
    assert odd.sentence.startswith("odd: tpot p99 is 0.02 s, 100% over the limit of 0.01 s")
    assert check_one("ttft p99 < 2s", run).verdict is Verdict.FAIL
    grows = check_one("ttft p99 < 2s + 100us/token", run)
    assert grows.verdict is Verdict.PASS
    assert grows.limit == pytest.approx(2.1)
    assert check_one("odd: interactivity p90 >= 50", run).verdict is Verdict.PASS
    slow = check_one("odd: interactivity p90 >= 100", run)
    assert (slow.verdict, slow.observed) == (Verdict.FAIL, 50.0)
    assert "50% under the limit" in slow.sentence


def test_only_what_a_simulation_can_judge() -> None:
    assert len(judged(parse_slos(["standard"]))) == 2
    with pytest.raises(UsageError) as error:
        judged(parse_slos(["ttfvt p99 < 2s", "error_rate < 1%", "ttft p99 < 1s"]))
    assert len(error.value.problems) == 2
    with pytest.raises(UsageError, match="no SLO"):
        judged(())


def test_a_queue_that_grows_is_seen_and_bursts_are_not_one() -> None:
    generator = np.random.default_rng(3)
    climbing = np.linspace(0, 100, 1_500) + generator.exponential(1, 1_500)
    assert queue_grows(result(wait_s=climbing))
    false_alarms = 0
    for _ in range(200):
        bursts = np.repeat(generator.exponential(1, 150) * (generator.random(150) < 0.2), 10)
        false_alarms += queue_grows(result(wait_s=bursts))
    assert false_alarms <= 2
    assert not queue_grows(result(wait_s=np.zeros(1_500)))
