"""The search: a lower bound within its tolerance, in few probes."""

from hypothesis import given
from hypothesis import strategies as st

from servebench.plan.search import MAX_PROBES, TOLERANCE, fewest_passing, highest_passing


@given(true_rps=st.floats(0.02, 400), start_rps=st.floats(5, 20))
def test_the_answer_passes_and_is_close_below_the_truth(true_rps: float, start_rps: float) -> None:
    tried = []

    def passes(rate_rps: float) -> bool:
        tried.append(rate_rps)
        return rate_rps <= true_rps

    found = highest_passing(passes, start_rps=start_rps, known_rps=start_rps / 1_000)
    assert found.passing_rps <= true_rps
    assert found.failing_rps is not None
    assert found.failing_rps > true_rps
    assert found.failing_rps / found.passing_rps <= TOLERANCE**1.5 or found.probes == MAX_PROBES
    assert found.probes == len(tried) <= MAX_PROBES


def test_doubling_ends_with_the_probes() -> None:
    found = highest_passing(lambda rate_rps: True, start_rps=1, known_rps=0.001)
    assert (found.passing_rps, found.failing_rps, found.probes) == (512, None, 10)


@given(st.integers(1, 50), st.integers(0, 60), st.integers(1, 80))
def test_the_fewest_that_pass(least: int, extra: int, true: int) -> None:
    most = least + extra
    answer = fewest_passing(lambda count: count >= true, least=least, most=most)
    assert answer == min(max(true, least), most)
