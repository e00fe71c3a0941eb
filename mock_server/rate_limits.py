"""Rate limits: a token bucket of requests and one of tokens for every key and model.

The request bucket holds one second's requests, the token bucket one minute's tokens; both fill steadily. A
prompt's tokens (cached ones too) are taken when it is let in, the answer's when it ends: so the level may
fall below zero, and stays shut until it is made good. xAI's own algorithm is not known; see choices.py.
"""

import math
from dataclasses import dataclass
from functools import cached_property

from mock_server import refusals
from mock_server.limit_tiers import Limit
from mock_server.shared_table import MakeLock, SharedTable, key_of

_SLOTS = 4096  # keys x models
_MAX_KNOWN = 10_000
_REQUESTS, _TOKENS, _AT = 1, 2, 3  # what the bucket lacks, and when


@dataclass(frozen=True)
class Allowance:
    """What the x-ratelimit headers state. Requests are a minute's, as xAI's header counts them."""

    limit_requests: int
    remaining_requests: int
    limit_tokens: int
    remaining_tokens: int

    @cached_property
    def block(self) -> str:
        """Header lines."""
        return (
            f"x-ratelimit-limit-requests: {self.limit_requests}\r\n"
            f"x-ratelimit-remaining-requests: {self.remaining_requests}\r\n"
            f"x-ratelimit-limit-tokens: {self.limit_tokens}\r\n"
            f"x-ratelimit-remaining-tokens: {self.remaining_tokens}\r\n"
        )


class RateLimits:
    """limits by model id, "" for the others. enforced False: stated in full, never applied."""

    def __init__(self, limits: dict[str, Limit], *, enforced: bool, table: SharedTable | None = None) -> None:
        self.enforced = enforced
        self._limits = limits
        self._table = table or make_table()
        self._keys: dict[tuple[str, str], int] = {}
        self._full = {model: _allowance(limit, 0.0, 0.0) for model, limit in limits.items()}

    def limit(self, model: str) -> Limit:
        return self._limits.get(model) or self._limits[""]

    def admit(self, key: str, model: str, tokens: int, now_s: float) -> Allowance:
        """Takes one request and its prompt's tokens. Raises RefusalError (429) where a bucket lacks them.

        now_s: of time.monotonic(), which all processes of a host share.
        """
        if not self.enforced:
            return self._full.get(model) or self._full[""]
        limit, table = self.limit(model), self._table
        values = table.values
        with table.lock:
            row = table.find(self._key(key, model))
            self._fill(row, limit, now_s)
            used, spent = values[row + _REQUESTS], values[row + _TOKENS]
            burst = max(1.0, limit.requests_per_s)
            if used + 1 > burst + 1e-9:
                wait_s = (used + 1 - burst) / limit.requests_per_s
                raise refusals.rate_limited(
                    model, axis="Requests per Second", actual=math.ceil(used + 1), limit=burst, wait_s=wait_s
                )
            if spent > 0 and spent + tokens > limit.tokens_per_min:  # an empty account takes any one prompt
                most = limit.tokens_per_min
                wait_s = min(spent, spent + tokens - most) * 60 / most
                raise refusals.rate_limited(
                    model,
                    axis="Tokens per Minute",
                    actual=math.ceil(spent + tokens),
                    limit=most,
                    wait_s=wait_s,
                )
            values[row + _REQUESTS] = used + 1
            values[row + _TOKENS] = spent + tokens
        return _allowance(limit, (used + 1) / burst, spent + tokens)

    def allowance(self, key: str, model: str, now_s: float) -> Allowance:
        """What is left, of which nothing is taken."""
        if not self.enforced:
            return self._full.get(model) or self._full[""]
        limit, values = self.limit(model), self._table.values
        with self._table.lock:
            row = self._table.find(self._key(key, model))
            self._fill(row, limit, now_s)
            used, spent = values[row + _REQUESTS], values[row + _TOKENS]
        return _allowance(limit, used / max(1.0, limit.requests_per_s), spent)

    def charge(self, key: str, model: str, tokens: int) -> None:
        """Tokens that were generated."""
        if self.enforced and tokens:
            with self._table.lock:
                self._table.values[self._table.find(self._key(key, model)) + _TOKENS] += tokens

    def _fill(self, row: int, limit: Limit, now_s: float) -> None:
        values = self._table.values
        passed_s = max(0.0, now_s - values[row + _AT]) if values[row + _AT] else 0.0
        values[row + _AT] = now_s
        values[row + _REQUESTS] = max(0.0, values[row + _REQUESTS] - passed_s * limit.requests_per_s)
        values[row + _TOKENS] = max(0.0, values[row + _TOKENS] - passed_s * limit.tokens_per_min / 60)

    def _key(self, key: str, model: str) -> int:
        known = self._keys.get((key, model))
        if known is None:
            if len(self._keys) >= _MAX_KNOWN:
                self._keys.clear()
            known = self._keys[key, model] = key_of(key.encode(), model.encode())
        return known


def make_table(make_lock: MakeLock | None = None) -> SharedTable:
    return SharedTable(_SLOTS, make_lock) if make_lock else SharedTable(_SLOTS)


def _allowance(limit: Limit, used_share: float, spent_tokens: float) -> Allowance:
    return Allowance(
        limit_requests=limit.requests_per_min,
        remaining_requests=max(0, math.floor(limit.requests_per_min * (1 - used_share) + 1e-6)),
        limit_tokens=limit.tokens_per_min,
        remaining_tokens=max(0, math.floor(limit.tokens_per_min - spent_tokens)),
    )
