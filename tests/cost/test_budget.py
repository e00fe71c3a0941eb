"""No interleaving of workers, failures, unknown bills and crashes passes the budget, but by broken bounds."""

from collections import deque
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servebench.cost.budget import Lease, Lender, Purse, Statement


class Fleet:
    """Workers and their master, with the messages between them in flight. true_spent is what the API charges,
    also for what the worker will never learn.
    """

    def __init__(self, workers: int, budget: int) -> None:
        self.budget = budget
        self.lender = Lender(budget, workers)
        self.purses = {n: Purse(n) for n in range(workers)}
        self.down: dict[int, deque[Lease]] = {n: deque() for n in self.purses}
        self.up: deque[Statement] = deque()  # each worker's in order, as one queue has them
        self.flying: dict[int, tuple[int, int]] = {}  # key -> worker, bound
        self.held: dict[int, deque[int]] = {n: deque() for n in self.purses}
        self.true_spent = self.broken = self.keys = 0
        self._send(self.lender.open())

    def _send(self, leases: list[Lease]) -> None:
        for lease in leases:
            self.down[lease.worker].append(lease)

    def _pump(self, worker: int) -> None:
        purse, held = self.purses[worker], self.held[worker]
        while held and purse.reserve(self.keys, held[0]):
            self.flying[self.keys] = (worker, held.popleft())
            self.keys += 1
        need = held[0] if held else 0
        if purse.wants_to_speak(need):
            self.up.append(purse.speak(need))

    def submit(self, places: list[tuple[int, int]]) -> None:
        for place, bound in places:
            worker = sorted(self.purses)[place % len(self.purses)]
            self.held[worker].append(bound)
            self._pump(worker)

    def end(self, place: int, how: str, share: float) -> None:
        if not self.flying:
            return
        key = sorted(self.flying)[place % len(self.flying)]
        worker, bound = self.flying.pop(key)
        cost = bound + 1 + round(50 * share) if how == "break" else round(bound * share)
        if how == "free":
            assert self.purses[worker].settle(key, 0) == 0
        elif how == "unknown":
            self.purses[worker].keep(key)
            self.true_spent += cost
        else:
            assert self.purses[worker].settle(key, cost) == max(cost - bound, 0)
            self.broken += max(cost - bound, 0)
            self.true_spent += cost
        self._pump(worker)

    def master_hears(self, words: int) -> None:
        for _ in range(min(words, len(self.up))):
            self._send(self.lender.hear(self.up.popleft()))

    def worker_hears(self, place: int, words: int) -> None:
        worker = sorted(self.purses)[place % len(self.purses)]
        for _ in range(min(words, len(self.down[worker]))):
            self.purses[worker].take(self.down[worker].popleft())
            self._pump(worker)

    def crash(self, place: int, share: float, last_words: bool) -> None:
        """What it had in flight is charged, and nobody will hear of it."""
        if len(self.purses) == 1:
            return
        worker = sorted(self.purses)[place % len(self.purses)]
        del self.purses[worker]
        for key, (owner, bound) in list(self.flying.items()):
            if owner == worker:
                self.true_spent += round(bound * share)
                del self.flying[key]
        if not last_words:
            self.up = deque(statement for statement in self.up if statement.worker != worker)
        self._send(self.lender.lose(worker))

    def the_budget_holds(self) -> None:
        in_flight = sum(bound for _, bound in self.flying.values())
        assert self.true_spent + in_flight <= self.budget + self.broken
        for purse in self.purses.values():
            assert purse.free >= 0 or purse.broken
        if self.lender.exhausted:
            assert not in_flight, "what is in flight may still make room"

    def everything_ends(self) -> None:
        """Once all in flight is billed and every word heard, what waits is sent or all is used up."""
        for _ in range(2_000):
            if self.up:
                self._send(self.lender.hear(self.up.popleft()))
            elif waiting := [n for n in self.purses if self.down[n]]:
                self.purses[waiting[0]].take(self.down[waiting[0]].popleft())
                self._pump(waiting[0])
            elif self.flying:
                key = min(self.flying)
                worker, _ = self.flying.pop(key)
                self.purses[worker].settle(key, 0)
                self._pump(worker)
            else:
                break
        else:
            raise AssertionError("the words never end")
        held = [queue[0] for worker, queue in self.held.items() if worker in self.purses and queue]
        assert self.lender.exhausted == bool(held)
        if held:
            assert min(held) >= 0
            assert max(held) > self.lender.available, "a request that fits must be sent"
            assert all(purse.free <= 0 for purse in self.purses.values()), "nothing idle lies in a purse"


PLACES, SHARES = st.integers(0, 50), st.floats(0, 1)
STEPS = st.one_of(
    st.tuples(st.just("submit"), st.lists(st.tuples(PLACES, st.integers(0, 120)), min_size=1, max_size=8)),
    st.tuples(st.just("end"), PLACES, st.sampled_from(["bill", "bill", "break", "unknown", "free"]), SHARES),
    st.tuples(st.just("master_hears"), st.integers(1, 5)),
    st.tuples(st.just("worker_hears"), PLACES, st.integers(1, 5)),
    st.tuples(st.just("crash"), PLACES, SHARES, st.booleans()),
)


@given(st.integers(1, 4), st.integers(0, 400), st.lists(STEPS, min_size=25, max_size=60))
@settings(max_examples=150, deadline=None)
def test_no_interleaving_passes_the_budget(workers: int, budget: int, steps: list[tuple[Any, ...]]) -> None:
    fleet = Fleet(workers, budget)
    for name, *arguments in steps:
        getattr(fleet, name)(*arguments)
        fleet.the_budget_holds()
    fleet.everything_ends()
    fleet.the_budget_holds()


def test_one_worker_has_it_all_and_says_nothing_until_it_is_short() -> None:
    lender, purse = Lender(100, 1), Purse(0)
    (lease,) = lender.open()
    purse.take(lease)
    assert (purse.free, lender.available) == (100, 0)
    assert purse.reserve(1, 60)
    assert purse.free == 40
    assert not purse.reserve(2, 50)
    (squeeze,) = lender.hear(purse.speak(50))
    purse.take(squeeze)
    assert lender.hear(purse.speak(50)) == []
    assert not lender.exhausted, "60 are in flight and may come back"
    assert purse.settle(1, 10) == 0
    exact, ease = lender.hear(purse.speak(50))
    assert (exact.ticks, ease.squeezed) == (50, False)
    purse.take(exact)
    assert purse.reserve(2, 50)
    assert purse.settle(2, 70) == 20
    assert (purse.spent, purse.broken, purse.broken_ticks, purse.largest_break_ticks) == (80, 1, 20, 20)


def test_what_is_kept_never_comes_back() -> None:
    lender, purse = Lender(100, 1), Purse(0)
    purse.take(lender.open()[0])
    assert purse.reserve(1, 90)
    purse.keep(1)
    purse.take(lender.hear(purse.speak(20))[0])
    assert lender.hear(purse.speak(20)) == []
    assert lender.exhausted
    assert (lender.spent, lender.reserved) == (0, 90)


def test_a_lost_workers_lease_stays_out() -> None:
    lender = Lender(1_000, 2)
    first, second = lender.open()
    assert (first.ticks, second.ticks) == (250, 250)
    lender.hear(Statement(0, taken=1, spent=100, reserved=50))
    lender.lose(0)
    assert (lender.available, lender.spent, lender.reserved) == (500, 100, 150)


def test_leases_travel_as_json() -> None:
    statement = Statement(1, 2, need=5, want=True)
    assert Statement(**statement.to_json()) == statement
    lease = Lease(0, 7, True)
    assert Lease(**lease.to_json()) == lease


def test_a_key_is_reserved_once() -> None:
    purse = Purse(0, granted=10)
    assert purse.reserve(1, 1)
    with pytest.raises(ValueError, match="reserved already"):
        purse.reserve(1, 1)
