"""A hard budget over many workers: what is spent and reserved never passes it, whoever dies in between. Pure.

Each request reserves its bound (bound.py) before it is sent, and settles it by its bill. Workers spend from
leases: a Purse is one worker's ledger, the Lender the master's. They talk in values (Statement, Lease) that
anything may carry, each pair's in order; nothing here knows time.

    worker   free = granted - spent - kept - reserved, and nothing is sent without room in it
    master   available = budget - all that was granted and not returned

What becomes of a reservation: a known bill is spent; an unknown one (cut, aborted, no usage) keeps the whole
bound for good; what was never sent is free again. A dead worker's lease stays out for good. A bill above its
bound (a break) is paid out of the free lease, else it is a debt that the master must book. So

    spent <= budget + the sum by which bills broke their bounds

whatever the interleaving; the stateful test has it. Leases are large while there is plenty. When some
worker's request finds no room, the Lender recalls what lies idle (squeezed), and from then on grants exact
needs only. It is exhausted once a request still does not fit and no reservation is left to come back.
"""

from dataclasses import dataclass, field
from typing import Any

_EASE_SHARE = 4  # a squeeze ends when no one waits and a quarter of the budget is available


@dataclass(frozen=True, slots=True)
class Statement:
    """A worker's word to the master. All in ticks; taken: leases it has heard, recalls among them.

    returned: given back now. need: what the oldest request that waits wants (0: none waits). want: more is
    welcome ahead of need. debt: broken bounds that no lease covered, not told before.
    """

    worker: int
    taken: int
    returned: int = 0
    need: int = 0
    want: bool = False
    debt: int = 0
    spent: int = 0
    kept: int = 0
    reserved: int = 0

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Lease:
    """The master's word to a worker. squeezed: from now on hold nothing idle, ask for exact needs."""

    worker: int
    ticks: int
    squeezed: bool

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True)
class Purse:
    """One worker's ledger, in ticks. broken, broken_ticks: requests that cost more than their bound, and how
    much more in all; largest_break_ticks: the worst of them.
    """

    worker: int
    granted: int = 0
    spent: int = 0
    kept: int = 0
    broken: int = 0
    broken_ticks: int = 0
    largest_break_ticks: int = 0
    kept_requests: int = 0
    squeezed: bool = False
    _reserved: dict[int, int] = field(default_factory=dict)
    _sum: int = 0
    _taken: int = 0
    _last_lease: int = 0
    _asked: bool = False  # an answer is on its way
    _said: tuple[int, bool, int] | None = None  # what the last statement of a squeeze came to

    @property
    def reserved(self) -> int:
        """The bounds of what is in flight."""
        return self._sum

    @property
    def free(self) -> int:
        return self.granted - self.spent - self.kept - self._sum

    def take(self, lease: Lease) -> None:
        self._taken += 1
        self.granted += lease.ticks
        self.squeezed = lease.squeezed
        self._last_lease = lease.ticks  # 0: nothing is left, so nothing is wanted ahead of need
        self._asked = False

    def reserve(self, key: int, bound: int) -> bool:
        """Whether there is room; then the bound is reserved under the key, until it is settled or kept."""
        if key in self._reserved:
            raise ValueError(f"{key} is reserved already")
        if bound > self.free:
            return False
        self._reserved[key] = bound
        self._sum += bound
        return True

    def settle(self, key: int, bill: int) -> int:
        """The bill is known (0: not sent, or not charged). Returns by how much it broke the bound, else 0."""
        bound = self._close(key)
        self.spent += bill
        over = max(bill - bound, 0)
        if over:
            self.broken += 1
            self.broken_ticks += over
            self.largest_break_ticks = max(self.largest_break_ticks, over)
        return over

    def keep(self, key: int) -> None:
        """Sent, and what it cost will never be known: the bound stays reserved."""
        self.kept += self._close(key)
        self.kept_requests += 1

    def _close(self, key: int) -> int:
        bound = self._reserved.pop(key)
        self._sum -= bound
        return bound

    def wants_to_speak(self, need: int) -> bool:
        """Whether the master should hear something: a request waits, a lease runs low or must go back."""
        if self.squeezed:
            return self.free != 0 or self._state(need) != self._said
        return not self._asked and (need > 0 or self.free < self._last_lease // 2)

    def _state(self, need: int) -> tuple[int, bool, int]:
        return need, self._sum == 0, self._taken

    def speak(self, need: int) -> Statement:
        """What to tell the master now. need: the bound of the oldest request that waits, 0 if none does."""
        debt = max(-self.free, 0)
        self.granted += debt
        returned = self.free if self.squeezed else 0
        self.granted -= returned
        want = not self.squeezed and self.free < self._last_lease // 2
        missing = max(need - self.free, 0)
        self._asked = bool(missing or want)
        self._said = self._state(need)
        return Statement(
            self.worker, self._taken, returned, missing, want, debt, self.spent, self.kept, self._sum
        )


class Lender:
    """The master's ledger. exhausted: a request does not fit, and nothing is left that could make room."""

    def __init__(self, budget_ticks: int, workers: int) -> None:
        self.budget_ticks = budget_ticks
        self._granted = dict.fromkeys(range(workers), 0)
        self._told: dict[int, Statement] = {}
        self._sent = dict.fromkeys(range(workers), 0)
        self._waiting: dict[int, int] = {}  # worker -> need, oldest first
        self._living = set(range(workers))
        self._squeezed = False

    @property
    def workers(self) -> tuple[int, ...]:
        return tuple(self._granted)

    @property
    def available(self) -> int:
        """Not leased. Below 0 only by broken bounds."""
        return self.budget_ticks - sum(self._granted.values())

    @property
    def spent(self) -> int:
        """As the workers last said."""
        return sum(statement.spent for statement in self._told.values())

    @property
    def reserved(self) -> int:
        """Bounds in flight or kept as the workers last said, and all that a dead worker's lease may cost."""
        held = sum(told.kept + told.reserved for worker, told in self._told.items() if worker in self._living)
        return held + sum(self.lost_ticks(worker) for worker in self._granted if worker not in self._living)

    def lost_ticks(self, worker: int) -> int:
        """Of a worker that is lost: what it may have spent beyond what it said."""
        return max(self._granted[worker] - self.spent_by(worker), 0)

    def spent_by(self, worker: int) -> int:
        """As it last said."""
        told = self._told.get(worker)
        return told.spent if told else 0

    def open(self) -> list[Lease]:
        """The first lease of each worker: one alone gets all, several share half of it."""
        if len(self._living) == 1:
            return [self._lease(worker, self.available) for worker in self._living]
        share = self.available // (2 * max(len(self._living), 1))
        return [self._lease(worker, share) for worker in sorted(self._living)]

    def hear(self, statement: Statement) -> list[Lease]:
        """Book it, and answer whoever can be answered now."""
        worker = statement.worker
        self._granted[worker] += statement.debt - statement.returned
        self._told[worker] = statement
        # thought dead, and is not: what it returns is welcome, it gets no more; or it spoke before it heard
        # the last lease, and will speak again
        if worker not in self._living or statement.taken < self._sent[worker]:
            return self._serve()
        if not statement.need:
            self._waiting.pop(worker, None)
        else:
            self._waiting[worker] = statement.need
        leases = self._serve()
        if statement.want and not self._squeezed and all(lease.worker != worker for lease in leases):
            leases.append(self._lease(worker, max(self.available, 0) // (2 * len(self._living))))
        return leases

    def lose(self, worker: int) -> list[Lease]:
        """The worker is gone. Its lease stays spent or reserved."""
        self._living.discard(worker)
        self._waiting.pop(worker, None)
        return self._serve()

    @property
    def exhausted(self) -> bool:
        """A request waits, and every living worker has returned what it had and has nothing in flight."""
        return bool(self._waiting) and self._squeezed and all(self._idle(worker) for worker in self._living)

    def _idle(self, worker: int) -> bool:
        told = self._told.get(worker)
        return told is not None and told.taken == self._sent[worker] and told.reserved == 0

    def _serve(self) -> list[Lease]:
        leases = []
        for worker, need in list(self._waiting.items()):
            if need > self.available:
                break  # in order: a small need must not starve a large one
            del self._waiting[worker]
            plenty = 0 if self._squeezed else self.available // (2 * len(self._living))
            leases.append(self._lease(worker, max(need, plenty)))
        if self._waiting and not self._squeezed:
            self._squeezed = True
            leases += [self._lease(worker, 0) for worker in sorted(self._living)]
        elif self._squeezed and not self._waiting and self.available * _EASE_SHARE >= self.budget_ticks:
            self._squeezed = False
            share = self.available // (2 * max(len(self._living), 1))
            leases += [self._lease(worker, share) for worker in sorted(self._living)]
        return leases

    def _lease(self, worker: int, ticks: int) -> Lease:
        self._granted[worker] += ticks
        self._sent[worker] += 1
        return Lease(worker, ticks, self._squeezed)
