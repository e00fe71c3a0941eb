"""Faults: which rules hold for a request. Seeded, and the same for the same request whatever else goes on.

A rule of rate r holds where a hash of (seed, rule, key, body, how often this key has sent this body) is below
r: a retry draws again, and two runs of the same requests meet the same faults.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from mock_server import refusals
from mock_server.choices import TEAM_ID
from mock_server.fault_rules import (
    AnyRule,
    ColdStart,
    MockConfig,
    ReplicaCrash,
    Status,
)
from mock_server.refusals import RefusalError
from mock_server.shared_table import MakeLock, SharedTable

_SLOTS = 2**16  # bodies whose repetitions are counted
_WHOLE_BYTES = 64 * 2**10  # longer bodies are told apart by their length and both their ends

_BODIES: dict[int, tuple[str, str]] = {
    400: ("invalid-argument", "Invalid request."),
    401: ("unauthenticated:no-credentials", "No credentials presented."),
    403: (
        "permission-denied",
        f"Your team {TEAM_ID} has either used all available credits or reached its monthly spending "
        "limit. To continue making API requests, please purchase more credits or raise your spending limit.",
    ),
    404: ("not-found", "The requested resource was not found."),
    429: ("resource-exhausted", f"Too many requests for team {TEAM_ID}."),
    503: ("unavailable", "The service is temporarily at capacity. Please retry your request shortly."),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What rules choose by. digest: of the body; model: the tier's id."""

    digest: bytes
    key: str
    key_id: str
    model: str
    stream: bool


def body_digest(chunks: Sequence[bytes]) -> bytes:
    """16 bytes that tell bodies apart."""
    size, digest = sum(map(len, chunks)), blake2b(digest_size=16)
    if size <= _WHOLE_BYTES:
        for chunk in chunks:
            digest.update(chunk)
        return digest.digest()
    digest.update(size.to_bytes(8, "big"))
    for part in (_first(chunks, _WHOLE_BYTES // 2), _last(chunks, _WHOLE_BYTES // 2)):
        digest.update(part)
    return digest.digest()


def _first(chunks: Sequence[bytes], count: int) -> bytes:
    found = b""
    for chunk in chunks:
        found += chunk[: count - len(found)]
        if len(found) == count:
            break
    return found


def _last(chunks: Sequence[bytes], count: int) -> bytes:
    found = b""
    for chunk in reversed(chunks):
        found = chunk[max(0, len(chunk) - (count - len(found))) :] + found
        if len(found) == count:
            break
    return found


def make_table(make_lock: MakeLock | None = None) -> SharedTable:
    return SharedTable(_SLOTS, make_lock) if make_lock else SharedTable(_SLOTS)


class Faults:
    """The rules of one document, from start_s of time.monotonic() on."""

    def __init__(self, config: MockConfig, *, seed: int, start_s: float, seen: SharedTable) -> None:
        self._rules: Sequence[tuple[int, AnyRule]] = list(enumerate(config.faults))
        self._seed = seed if config.seed is None else config.seed
        self._start_s = start_s
        self._seen = seen

    @property
    def any(self) -> bool:
        return bool(self._rules)

    def crashes(self) -> list[tuple[float, ReplicaCrash]]:
        """Those of a set time, with their time.monotonic()."""
        return [
            (self._start_s + rule.at_s, rule)
            for _, rule in self._rules
            if isinstance(rule, ReplicaCrash) and rule.at_s is not None
        ]

    def of(self, asked: Asked, names: frozenset[str]) -> tuple[AnyRule, ...]:
        """The rules that hold for a request that arrives now. names: of its model, aliases too."""
        now_s = time.monotonic() - self._start_s
        identity = blake2b(asked.digest + asked.key.encode(), digest_size=16).digest()
        turn = self._turn(identity)
        return tuple(
            rule
            for index, rule in self._rules
            if _concerns(rule, asked, names, now_s) and self._draw(index, identity, turn) < rule.rate
        )

    def _turn(self, identity: bytes) -> int:
        with self._seen.lock:
            cell = self._seen.find(int.from_bytes(identity[:8], "big") or 1) + 1
            turn = self._seen.values[cell]
            self._seen.values[cell] = turn + 1
        return int(turn)

    def _draw(self, rule: int, identity: bytes, turn: int) -> float:
        digest = blake2b(f"{self._seed} {rule} {turn} ".encode() + identity, digest_size=8).digest()
        return int.from_bytes(digest, "big") / 2**64


def _concerns(rule: AnyRule, asked: Asked, names: frozenset[str], now_s: float) -> bool:
    if now_s < rule.from_s or (rule.until_s is not None and now_s >= rule.until_s):
        return False
    if isinstance(rule, ColdStart) and now_s >= rule.from_s + rule.for_s:
        return False
    if isinstance(rule, ReplicaCrash) and rule.at_s is not None:
        return False
    return (
        (not rule.models or not names.isdisjoint(rule.models))
        and (not rule.keys or asked.key_id in rule.keys)
        and rule.stream in (None, asked.stream)
    )


def refusal_of(rules: Sequence[AnyRule]) -> tuple[str, RefusalError] | None:
    """(kind, refusal) of the first rule that puts an error in place of the answer."""
    for rule in rules:
        if isinstance(rule, ColdStart):
            return rule.kind, refusals.at_capacity(503)
        if isinstance(rule, Status):
            code, error = _BODIES.get(rule.status, ("internal", "Internal error."))
            refusal = refusals.flat(
                rule.status, rule.code or code, rule.error or error, retry_after_s=rule.retry_after_s
            )
            return rule.kind, refusal
    return None
