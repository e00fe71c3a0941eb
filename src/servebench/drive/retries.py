"""When a request is sent again, and after which wait. Pure: the caller brings the chance and the time.

Only what brought no token is sent again: 429, 5xx, no connection, a connection lost before the answer began.
The wait is the server's Retry-After and up to a tenth more, else 0.5 s doubling up to 30 s, of which a half
is drawn (so that what failed together does not come back together).
"""

from dataclasses import dataclass
from typing import Literal

from servebench.meter import Outcome, RequestRecord

On429 = Literal["respect", "fail", "drop"]

FIRST_S = 0.5
MOST_S = 30.0
_REASONS = {
    Outcome.HTTP_429: "http_429",
    Outcome.HTTP_5XX: "http_5xx",
    Outcome.CONNECT_ERROR: "connect_error",
    Outcome.STREAM_CUT: "stream_cut",
}


@dataclass(frozen=True, slots=True)
class RetryRules:
    """retries: how often a request may be sent again. on_429: respect pauses all sending for the Retry-After,
    and a refused request may be sent again; drop pauses too, and sheds what falls due meanwhile; fail does
    nothing of the kind.
    """

    retries: int = 0
    on_429: On429 = "respect"

    def reason(self, record: RequestRecord, attempts: int) -> str | None:
        """Why to send it again after so many attempts; None: it is over."""
        if attempts > self.retries or record.first_token_ns is not None:
            return None
        if record.outcome is Outcome.HTTP_429 and self.on_429 != "respect":
            return None
        if record.outcome is Outcome.STREAM_CUT and record.status is not None:
            return None
        return _REASONS.get(record.outcome)

    def pause_s(self, record: RequestRecord) -> float:
        """For how long nothing at all is to be sent."""
        if record.outcome is not Outcome.HTTP_429 or self.on_429 == "fail":
            return 0.0
        return record.retry_after_s or 0.0


def wait_s(attempts: int, retry_after_s: float | None, chance: float) -> float:
    """Seconds before the next attempt. chance: uniform in 0..1."""
    if retry_after_s is not None:
        return retry_after_s * (1 + 0.1 * chance)
    most_s = min(FIRST_S * 2.0 ** min(attempts - 1, 20), MOST_S)
    return most_s * (0.5 + 0.5 * chance)
