"""The rule by which a calm stream is read a whole frame at once, and with care after a stall."""

from hypothesis import given
from hypothesis import strategies as st

from servebench.meter.pace import Pace

MS = 1_000_000
START_NS = 10**9


def after(*gaps_ms: int) -> tuple[Pace, int]:
    """The pace of frames so far apart, and when the last one came."""
    pace, at_ns = Pace(), START_NS
    pace.learn(at_ns)
    for gap_ms in gaps_ms:
        at_ns += gap_ms * MS
        pace.learn(at_ns)
    return pace, at_ns


def test_two_frames_can_not_have_come_within_one_and_a_half_of_the_shortest_gap() -> None:
    pace, at_ns = after(20, 18, 20, 18, 20, 18, 18)
    assert pace.until_ns == at_ns + 27 * MS


def test_nothing_is_known_before_eight_frames_nor_after_a_burst_or_a_restart() -> None:
    assert after(20, 20, 20, 20, 20, 20)[0].until_ns == 0
    assert after(*[20] * 49, 1)[0].until_ns == 0
    assert after(*[20] * 49, 1, *[20] * 7)[0].until_ns == 0
    pace, at_ns = after(*[20] * 49, 1, *[20] * 8)
    assert pace.until_ns == at_ns + 30 * MS  # of the frames before the burst nothing is left
    pace.restart()
    assert pace.until_ns == 0


def test_one_short_gap_is_forgotten_in_some_dozen_frames() -> None:
    pace, at_ns = after(20, 18, *[20] * 49)
    assert 28 * MS < pace.until_ns - at_ns <= 30 * MS


@given(st.lists(st.integers(4, 200), min_size=8, max_size=40))
def test_what_is_alone_never_goes_past_the_gaps_seen(gaps_ms: list[int]) -> None:
    pace, at_ns = after(*gaps_ms)
    assert at_ns + 1.5 * min(gaps_ms) * MS <= pace.until_ns <= at_ns + 1.5 * max(gaps_ms) * MS
