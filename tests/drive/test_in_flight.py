"""InFlight is the integral of the number of open spans, clipped to the window."""

from hypothesis import given
from hypothesis import strategies as st

from servebench.drive.in_flight import InFlight


@given(
    st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), max_size=30),
    st.integers(0, 500),
    st.integers(0, 500),
)
def test_it_is_the_sum_of_the_clipped_spans(spans: list[tuple[int, int]], start: int, length: int) -> None:
    end = start + length
    count = InFlight(start, end)
    events = [(a, 1) for a, b in spans if a < b] + [(b, -1) for a, b in spans if a < b]
    for at, by in events:
        count.change(by, at)
    clipped = sum(max(min(b, end) - max(a, start), 0) for a, b in spans if a < b)
    assert count.now == 0
    assert round(count.area_s(2000) * 1e9) == clipped
