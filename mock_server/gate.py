"""Gate: what stands between a request and the engine: rate limits, faults, the queue's limit; the journal.

Its configuration changes at run time, whole or not at all: a request is under one document from end to end.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mock_server import refusals
from mock_server.choices import STATED_LIMIT_TIER
from mock_server.fault_rules import KINDS, AnyRule, MockConfig, ReplicaCrash
from mock_server.faults import Asked, Faults, refusal_of
from mock_server.faults import make_table as make_seen_table
from mock_server.faulty_transport import WIRE_RULES
from mock_server.journal import Entry, Journal
from mock_server.limit_tiers import limits_of
from mock_server.rate_limits import Allowance, RateLimits
from mock_server.rate_limits import make_table as make_bucket_table
from mock_server.refusals import RefusalError
from mock_server.shared_table import SharedTable


@dataclass(frozen=True, slots=True)
class SharedTables:
    """What the processes of one mock have in common; made before they part."""

    buckets: SharedTable = field(default_factory=make_bucket_table)
    seen: SharedTable = field(default_factory=make_seen_table)


@dataclass(slots=True)
class Ticket:
    """A request that was let in. wire_rules: what to do to its bytes."""

    allowance: Allowance
    wire_rules: Sequence[AnyRule] = ()
    crash: ReplicaCrash | None = None


class Gate:
    """names: a model id's own and its aliases, by id."""

    def __init__(
        self, config: MockConfig, names: Mapping[str, frozenset[str]], *, seed: int, shared: SharedTables
    ) -> None:
        self.journal = Journal()
        self.injected = dict.fromkeys(KINDS, 0)  # over all documents: a counter
        self._names = names
        self._seed = seed
        self._shared = shared
        self.apply(config, start_s=time.monotonic())

    def apply(self, config: MockConfig, *, start_s: float) -> None:
        """From start_s of time.monotonic() on. Buckets start full, repetitions at none."""
        limits = config.limits.by_model()
        self.config = config
        self.start_s = start_s
        self.faults = Faults(config, seed=self._seed, start_s=start_s, seen=self._shared.seen)
        self._limits = RateLimits(
            limits or limits_of(STATED_LIMIT_TIER), enforced=limits is not None, table=self._shared.buckets
        )

    def forget(self) -> None:
        """Buckets are full again and no body has been seen."""
        self._shared.buckets.clear()
        self._shared.seen.clear()

    def enter(self, entry: Entry, *, key: str, body: bytes, tokens: int) -> Ticket:
        """Raises RefusalError: over a limit, or an error that was asked for. body: its digest."""
        ticket = Ticket(self._limits.admit(key, entry.model, tokens, time.monotonic()))
        if not self.faults.any:
            return ticket
        asked = Asked(body, key, entry.key_id, entry.model, entry.stream)
        rules = self.faults.of(asked, self._names[entry.model])
        refusal = refusal_of(rules)
        if refusal is not None:
            self.note(entry, refusal[0])
            raise refusal[1]
        ticket.wire_rules = [rule for rule in rules if isinstance(rule, WIRE_RULES)]
        ticket.crash = next((rule for rule in rules if isinstance(rule, ReplicaCrash)), None)
        return ticket

    def allowance(self, key: str, model: str) -> Allowance:
        """What is left, of which nothing is taken."""
        return self._limits.allowance(key, model, time.monotonic())

    def refuse_queued(self, waiting: int) -> None:
        """Raises RefusalError where the queue is full."""
        limit = self.config.queue_limit
        if limit is not None and waiting >= limit:
            raise refusals.at_capacity()

    def charge(self, key: str, model: str, tokens: int) -> None:
        self._limits.charge(key, model, tokens)

    def note(self, entry: Entry | None, kind: str) -> None:
        """A fault happened."""
        self.injected[kind] += 1
        if entry is not None:
            entry.faults.append(kind)


def note_refusal(entry: Entry, refusal: RefusalError) -> None:
    entry.status = refusal.status
    entry.retry_after_s = refusal.retry_after_s
    entry.outcome = "refused"
