"""The clock estimate: the true offset always lies within what it states."""

from hypothesis import given
from hypothesis import strategies as st

from servebench.drive.clocks import Ping, clock_offset, host_clock_id

ways_ns = st.tuples(st.integers(0, 50_000_000), st.integers(0, 50_000_000))


@given(
    st.integers(-(10**12), 10**12),
    st.lists(st.tuples(st.integers(0, 10**12), ways_ns), min_size=1, max_size=9),
)
def test_the_true_offset_is_within_the_stated_uncertainty(
    true_ns: int, pings: list[tuple[int, tuple[int, int]]]
) -> None:
    made = [Ping(sent, sent + there + true_ns, sent + there + back) for sent, (there, back) in pings]
    found = clock_offset(made)
    assert abs(found.offset_ns - true_ns) <= found.uncertainty_ns
    assert found.uncertainty_ns <= min((there + back + 1) // 2 for _, (there, back) in pings)


def test_one_host_has_one_clock() -> None:
    assert host_clock_id() == host_clock_id()
