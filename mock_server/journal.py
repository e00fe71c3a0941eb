"""The journal: what each request asked, what it got, what it was billed, what was done to it. Bounded.

Facts only, in Unix time; what they say about the client is read out of them by verdicts.py.
"""

import time
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any

from mock_server.admission import Admitted
from mock_server.reply import Reply

JOURNAL_ENTRIES = 10_000


@dataclass(slots=True)
class Entry:
    """One request. Engine times are of the first choice, since its arrival. status 0: none was sent.

    outcome: answered, deferred, refused, broken (by a fault), left (by its client), crashed (its replica).
    body: hex of the body's digest. faults: kinds, in the order in which they happened.
    """

    id: int
    arrived_s: float
    path: str
    key_id: str = ""
    body: str = ""
    body_bytes: int = 0
    ended_s: float = 0.0
    model: str = ""
    stream: bool = False
    max_tokens: int | None = None
    status: int = 0
    retry_after_s: int | None = None
    outcome: str = ""
    request_id: str = ""
    replica: int | None = None
    finish_reason: str = ""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    billed_ticks: int = 0
    faults: list[str] = field(default_factory=list)
    queue_s: float | None = None
    ttft_s: float | None = None
    e2e_s: float | None = None
    preemptions: int = 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Journal:
    """The latest `entries` requests that have ended."""

    def __init__(self, entries: int = JOURNAL_ENTRIES) -> None:
        self.entries: deque[Entry] = deque(maxlen=entries)
        self._count = 0

    def begin(self, path: str) -> Entry:
        self._count += 1
        return Entry(self._count, time.time(), path)

    def end(self, entry: Entry) -> None:
        entry.ended_s = time.time()
        self.entries.append(entry)

    def clear(self) -> None:
        self.entries.clear()


def note_request(entry: Entry, admitted: Admitted) -> None:
    """What was asked."""
    entry.model = admitted.tier_id
    entry.stream = admitted.chat.stream
    entry.max_tokens = admitted.chat.max_visible_tokens
    entry.prompt_tokens = admitted.prompt_tokens


def note_reply(entry: Entry, reply: Reply) -> None:
    """What the engine made of the request, as far as it came."""
    sequence = reply.sequences[0]
    entry.cached_tokens = sequence.cached_tokens
    entry.preemptions = sum(one.preemptions for one in reply.sequences)
    arrival_s = sequence.arrival_s
    if sequence.admitted_s is not None:
        entry.queue_s = sequence.admitted_s - arrival_s
    if sequence.first_token_s is not None:
        entry.ttft_s = sequence.first_token_s - arrival_s
    elif entry.stream:
        entry.status = 0
    ends_s = [one.finished_s for one in reply.sequences if one.finished_s is not None]
    if len(ends_s) == len(reply.sequences):
        answers = reply.admitted.answers
        entry.e2e_s = max(ends_s) - arrival_s
        entry.finish_reason = answers[0].finish_reason
        entry.completion_tokens = sum(answer.visible_tokens for answer in answers)
        entry.reasoning_tokens = sum(answer.reasoning_tokens for answer in answers)
    elif not entry.stream:
        entry.status = 0
