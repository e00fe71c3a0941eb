"""The pacer: every arrival once, in order, never early, never late by accumulation, never re-anchored."""

import time

import gevent
import pytest
from gevent.event import Event
from hypothesis import given, settings
from hypothesis import strategies as st

from servebench.drive.pacer import Pacer


def pace(
    due_ns: list[int], *, stall_at: int | None = None, stall_s: float = 0.0
) -> list[tuple[int, int, int]]:
    """(position, due, fired) of each arrival, on the real clock."""
    fired: list[tuple[int, int, int]] = []
    over = Event()

    def fire(position: int, at_ns: int) -> None:
        fired.append((position, at_ns, time.monotonic_ns()))
        if position == stall_at:
            time.sleep(stall_s)

    Pacer(due_ns, fire=fire, prepare=lambda _: None, finished=over.set).start()
    assert over.wait(10)
    return fired


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 30_000_000), max_size=40))
def test_each_arrival_fires_once_in_order_and_never_early(offsets_ns: list[int]) -> None:
    start_ns = time.monotonic_ns()
    due = sorted(start_ns + offset for offset in offsets_ns)
    fired = pace(due)
    assert [position for position, _, _ in fired] == list(range(len(due)))
    assert all(at == due[position] and now >= at for position, at, now in fired)


def test_lateness_does_not_accumulate() -> None:
    start_ns = time.monotonic_ns() + 5_000_000
    due = [start_ns + n * 1_000_000 for n in range(500)]
    late_ns = sorted(now - at for _, at, now in pace(due))
    # relative sleeps would be tens of ms late by now; the odd stolen slice moves no median so far
    assert late_ns[len(late_ns) // 2] < 10_000_000


def test_a_stall_is_caught_up_on_the_same_schedule() -> None:
    start_ns = time.monotonic_ns() + 5_000_000
    due = [start_ns + n * 2_000_000 for n in range(100)]
    fired = pace(due, stall_at=10, stall_s=0.05)
    assert [at for _, at, _ in fired] == due  # intended times stand: nothing was moved or dropped
    during_ns = fired[20][2] - fired[20][1]
    after_ns = sorted(now - at for _, at, now in fired[-20:])[10]
    assert during_ns > 20_000_000
    assert after_ns < during_ns


def test_more_than_can_be_sent_leaves_the_hub_its_turns() -> None:
    """A rate beyond this process: answers are read all the same, and the run can be stopped."""
    turns: list[int] = []
    pacer = Pacer(
        [time.monotonic_ns()] * 5_000,
        fire=lambda position, at_ns: None,
        prepare=lambda _: time.sleep(0.001),
        finished=lambda: pytest.fail("stopped, not finished"),
    )
    timer = gevent.get_hub().loop.timer(0.001, 0.001)
    timer.start(lambda: turns.append(pacer.position))
    pacer.start()
    with gevent.Timeout(20):
        while len(turns) < 20:
            gevent.sleep(0.001)
    pacer.stop()
    timer.stop()
    timer.close()
    assert 0 < turns[-1] < 2_500
    assert turns == sorted(turns)


def test_stop_ends_it_and_tells_how_many_fired() -> None:
    start_ns = time.monotonic_ns()
    count = 0

    def fire(position: int, at_ns: int) -> None:
        nonlocal count
        count += 1

    pacer = Pacer(
        [start_ns + n * 10_000_000 for n in range(1000)],
        fire=fire,
        prepare=lambda _: None,
        finished=lambda: pytest.fail("stopped, not finished"),
    )
    pacer.start()
    gevent.sleep(0.05)
    pacer.stop()
    gevent.sleep(0.03)
    assert 3 <= count <= 10
    assert pacer.position == count


def test_bodies_are_prepared_before_they_are_due() -> None:
    prepared_ns: dict[int, int] = {}
    over = Event()

    def prepare(position: int) -> None:
        prepared_ns.setdefault(position, time.monotonic_ns())

    start_ns = time.monotonic_ns() + 10_000_000
    due = [start_ns + n * 10_000_000 for n in range(5)]
    Pacer(
        due,
        fire=lambda position, at_ns: None,
        prepare=prepare,
        finished=over.set,
    ).start()
    assert over.wait(5)
    assert all(prepared_ns[n] < due[n] for n in range(5))
