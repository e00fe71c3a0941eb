"""Gaps are what is left without first chunks and losses; a part of a run is the part's own."""

from hypothesis import given
from hypothesis import strategies as st

from servebench.results.chunk_times import LOST, ChunkTimes

RUNS = st.lists(st.lists(st.integers(0, 50) | st.just(LOST), max_size=5), max_size=8)


@given(RUNS)
def test_gaps_leave_out_first_chunks_and_losses(run: list[list[int]]) -> None:
    values, counts = ChunkTimes.of(run).gaps()
    gaps = [[gap for gap in times[1:] if gap != LOST] for times in run]
    assert values.tolist() == [gap for own in gaps for gap in own]
    assert counts.tolist() == [len(own) for own in gaps]


@given(RUNS, st.data())
def test_a_part_holds_its_records(run: list[list[int]], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(run)))
    stop = data.draw(st.integers(start, len(run)))
    part = ChunkTimes.of(run).between(start, stop)
    assert [part[position].tolist() for position in range(len(part))] == run[start:stop]
