"""How far apart the chunks of a calm stream come, and what the next answer is taken to be like."""

from array import array
from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from servebench.meter.pace import Presumption, shortest_gap_ns, time_alone_ns

MS = 1_000_000


def shortest_ms(*gaps_ms: int) -> int:
    """Whole milliseconds: it is rounded down to less than a third of one."""
    shortest_ns = shortest_gap_ns(array("q", accumulate((gap * MS for gap in gaps_ms), initial=10**9)))
    return -(-shortest_ns // MS)


def test_the_shortest_gap_of_late() -> None:
    assert shortest_ms(20, 18, 20, 17, 20, 18, 18, 19) == 17
    assert shortest_ms(5, *[20] * 15) == 5
    assert shortest_ms(5, *[20] * 16) == 20  # forgotten


def test_nothing_is_known_before_eight_gaps_nor_after_a_burst() -> None:
    assert shortest_gap_ns(array("q")) == 0
    assert shortest_ms(*[20] * 7) == 0
    assert shortest_ms(*[20] * 49, 1) == 0
    assert shortest_ms(*[20] * 49, 1, *[20] * 15) == 0
    assert shortest_ms(*[20] * 49, 1, *[20] * 16) == 20


def test_chunks_of_one_stamp_tell_nothing() -> None:
    assert shortest_ms(*[20] * 6, 0, 20, 0, 25) == 20
    assert shortest_ms(*[0] * 16) == 0


@given(st.lists(st.integers(4, 200), min_size=8, max_size=16))
def test_it_is_one_of_the_gaps(gaps_ms: list[int]) -> None:
    assert shortest_ms(*gaps_ms) == min(gaps_ms)


def shortest_of_even_ns(gap_ns: int) -> int:
    return shortest_gap_ns(array("q", range(0, 17 * gap_ns, gap_ns)))


@given(st.integers(4 * MS, 260 * MS))
def test_it_is_rounded_down_by_little(gap_ns: int) -> None:
    assert shortest_of_even_ns(gap_ns) <= gap_ns < shortest_of_even_ns(gap_ns) + MS / 3


@given(st.integers(260 * MS, 10**12))
def test_long_gaps_are_all_the_same(gap_ns: int) -> None:
    assert 255 * MS < shortest_of_even_ns(gap_ns) <= gap_ns


def test_an_answer_is_presumed_calm_after_sixteen_calm_ones_in_a_row() -> None:
    presumed = Presumption()
    for _ in range(15):
        presumed.verdict(20 * MS)
    assert presumed.shortest_ns == 0
    presumed.verdict(19 * MS)
    assert presumed.shortest_ns == 19 * MS
    presumed.verdict(0)
    assert presumed.shortest_ns == 0
    presumed.verdict(20 * MS)
    assert presumed.shortest_ns == 0


@given(st.integers(4 * MS, 10**12))
def test_two_chunks_never_come_within_what_counts_as_alone(gap_ns: int) -> None:
    shortest_ns = shortest_of_even_ns(gap_ns)
    assert 1.8 * shortest_ns < time_alone_ns(shortest_ns) < 2 * gap_ns
    assert time_alone_ns(0) == 0
