"""The binomial gate: golden sample sizes, error rates that hold, and no verdict by noise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servebench.results.gate import Verdict, correlation_time, fails, judge, minimum_n, overall, passes
from servebench.results.slo import parse_slo

OVER = (0, 1, 5, 10, 25, 50, 100)


@pytest.mark.parametrize(
    ("share", "sizes"),
    [
        (0.99, (459, 662, 1307, 2010, 3924, 6898, 12571)),
        (0.95, (90, 130, 259, 398, 779, 1372)),
        (0.90, (44, 64, 127, 197, 386)),
    ],
)
def test_the_published_sample_sizes(share: float, sizes: tuple[int, ...]) -> None:
    assert tuple(minimum_n(over, share) for over in OVER[: len(sizes)]) == sizes


@given(over=st.integers(0, 30), share=st.sampled_from([0.5, 0.9, 0.95, 0.99]))
@settings(deadline=None)
def test_the_definition_of_h_min(over: int, share: float) -> None:
    """Against the sum as it is written: sum_{x <= t} C(n, x) p^(n-x) (1-p)^x <= 0.01, by exact fractions."""
    from fractions import Fraction
    from math import comb

    p = Fraction(share).limit_denominator(1000)

    def tail(n: int) -> Fraction:
        return sum((comb(n, x) * p ** (n - x) * (1 - p) ** x for x in range(over + 1)), Fraction(0))

    n = minimum_n(over, share)
    assert tail(n) <= Fraction(1, 100) < tail(n - 1)


@settings(deadline=None)
@given(over=st.integers(0, 200), n=st.integers(1, 4000), share=st.sampled_from([0.5, 0.95, 0.99]))
def test_never_both(over: int, n: int, share: float) -> None:
    over = min(over, n)
    assert not (passes(over, n, share) and fails(over, n, share))
    if passes(over, n, share):
        assert passes(over, n + 1, share)
    if fails(over, n, share) and over < n:
        assert fails(over + 1, n, share)


def test_a_target_at_the_limit_is_judged_wrongly_one_time_in_a_hundred() -> None:
    rng = np.random.default_rng(3)
    over = rng.binomial(2000, 0.01, size=4000)
    wrong_pass = np.mean([passes(int(t), 2000, 0.99) for t in over])
    wrong_fail = np.mean([fails(int(t), 2000, 0.99) for t in over])
    assert wrong_pass <= 0.015
    assert wrong_fail <= 0.015


@pytest.mark.parametrize(
    ("over", "n", "verdict"),
    [
        (0, 458, Verdict.INCONCLUSIVE),
        (0, 459, Verdict.PASS),
        (5, 1306, Verdict.INCONCLUSIVE),
        (5, 1307, Verdict.PASS),
        (0, 0, Verdict.INCONCLUSIVE),
        (3, 3, Verdict.FAIL),
        (50, 1000, Verdict.FAIL),
    ],
)
def test_verdicts(over: int, n: int, verdict: Verdict) -> None:
    good = np.ones(n, dtype=bool)
    good[np.linspace(0, n - 1, over).astype(int)] = False  # spread: no two neighbours fail together
    result = judge(parse_slo("ttft p99 < 2s"), good, value=None, window_s=10)
    assert (result.verdict, result.n, result.over) == (verdict, n, over)


def test_bursts_are_worth_less_than_scattered_failures() -> None:
    rng = np.random.default_rng(5)
    state, bad = 0.0, np.zeros(4000, dtype=bool)
    for position in range(len(bad)):
        state = 0.95 * state + rng.normal()
        bad[position] = state > 6.5
    assert correlation_time(bad) > 3
    scattered = rng.permutation(bad)
    assert correlation_time(scattered) < 1.5
    slo = parse_slo("ttft p95 < 2s")
    assert judge(slo, ~bad, value=None, window_s=10).n_effective < len(bad) / 3


def test_independent_failures_are_not_discounted() -> None:
    rng = np.random.default_rng(7)
    discounted = sum(correlation_time(rng.random(1000) < 0.03) > 1 for _ in range(300))
    assert discounted <= 30


@pytest.mark.parametrize(
    ("good", "verdict"), [(160, Verdict.PASS), (100, Verdict.INCONCLUSIVE), (60, Verdict.FAIL)]
)
def test_a_rate_is_judged_by_its_count(good: int, verdict: Verdict) -> None:
    slo = parse_slo("goodput >= 10 rps")
    assert judge(slo, np.ones(good, dtype=bool), value=None, window_s=10).verdict is verdict


def test_the_worst_gate_decides() -> None:
    slo = parse_slo("ttft p99 < 2s")
    passed = judge(slo, np.ones(500, dtype=bool), value=None, window_s=1)
    unsure = judge(slo, np.ones(5, dtype=bool), value=None, window_s=1)
    failed = judge(slo, np.zeros(50, dtype=bool), value=None, window_s=1)
    assert overall([passed, unsure, failed]) is Verdict.FAIL
    assert overall([passed, unsure]) is Verdict.INCONCLUSIVE
    assert overall([passed]) is Verdict.PASS
    assert overall([]) is None
    assert "459 are needed" in unsure.reason
