"""What each request cost, put on its record: billed by the server, computed from usage, or estimated.

Billed wins where the server states it. A request that was sent and brought no usage (cut, aborted) is
estimated from its planned prompt and the chunks that came; one that never reached the server costs nothing.
"""

import dataclasses
import re
from dataclasses import dataclass
from typing import Any

from servebench.catalog.prices import PriceSheet
from servebench.cost.bill import Bill, BillError, Usage, bill, usd_text
from servebench.cost.usage import tool_calls
from servebench.meter import Outcome, RequestRecord

_FREE = {Outcome.UNSENT, Outcome.SHED, Outcome.CONNECT_ERROR}
# taken as free: nobody says whether refused requests are billed, but for the fee below
_REFUSED = {Outcome.HTTP_4XX, Outcome.HTTP_429}
# published for xAI's responses endpoint (pricing page of 2026-09-29): content that a check refuses beforehand
VIOLATION_TICKS = 500_000_000  # 0.05 USD
_VIOLATION = re.compile(r"violates usage guidelines.*failed check", re.I)
# out of credits: xAI's text (403, earlier 429), OpenAI's and its kin's; never worth another try
_NO_CREDITS = re.compile(
    r"used all available credits|monthly spending limit|insufficient[_ ](?:quota|credits|balance|funds)"
    r"|exceeded your current quota|out of credits|credit balance is too low|purchase more credits",
    re.I,
)


def out_of_credits(record: RequestRecord) -> bool:
    """Whether the server refused for want of money: by status and message, as codes have changed before."""
    return record.status in (402, 403, 429) and bool(_NO_CREDITS.search(record.error))


@dataclass(frozen=True, slots=True)
class AttemptCost:
    """What one attempt cost. ticks None: no price is known. parts: ticks by component. sure: a budget may
    count it as spent; else what it cost will never be known.
    """

    ticks: int | None
    source: str
    parts: dict[str, int]
    sure: bool

    @property
    def settled_ticks(self) -> int | None:
        return (self.ticks or 0) if self.sure else None

    def on(self, record: RequestRecord, **more: Any) -> RequestRecord:
        """The record with it, and with other fields to set."""
        if self.ticks is not None:
            more |= {"cost_usd": usd_text(self.ticks), "cost_source": self.source}
        return dataclasses.replace(record, **more) if more else record


class Biller:
    """Bills records by one price sheet. Without one, cost stays None unless the server bills."""

    def __init__(self, sheet: PriceSheet | None) -> None:
        self._sheet = sheet

    def charge(self, record: RequestRecord, *, prompt_tokens: int) -> tuple[RequestRecord, dict[str, int]]:
        """The record with its cost_usd and cost_source, and the ticks by component."""
        cost = self.cost(record, prompt_tokens=prompt_tokens)
        return cost.on(record), cost.parts

    def cost(self, record: RequestRecord, *, prompt_tokens: int) -> "AttemptCost":
        computed = self._computed(record)
        if record.billed_ticks is not None:
            parts = _components(computed) if computed is not None else {}
            difference = record.billed_ticks - sum(parts.values())
            if difference:
                parts["unexplained"] = difference
            return AttemptCost(record.billed_ticks, "billed", parts, sure=True)
        if computed is not None:
            return AttemptCost(computed.total_ticks, "computed", _components(computed), sure=True)
        if record.outcome in _REFUSED and _VIOLATION.search(record.error):
            return AttemptCost(VIOLATION_TICKS, "estimated", {"unexplained": VIOLATION_TICKS}, sure=True)
        unsent = record.outcome in _FREE or record.sent_ns is None
        sure = unsent or record.outcome in _REFUSED
        if self._sheet is None:
            return AttemptCost(None, "", {}, sure=sure)
        if sure or record.outcome is Outcome.HTTP_5XX:
            return AttemptCost(0, "estimated", {}, sure=sure)
        visible = max(record.chunks - record.reasoning_chunks, 0)
        guess = bill(Usage(prompt_tokens, 0, visible, record.reasoning_chunks), self._sheet)
        return AttemptCost(guess.total_ticks, "estimated", _components(guess), sure=False)

    def _computed(self, record: RequestRecord) -> Bill | None:
        if self._sheet is None or record.usage_source != "usage" or record.prompt_tokens is None:
            return None
        try:
            return bill(
                Usage(
                    record.prompt_tokens,
                    record.cached_tokens or 0,
                    record.completion_tokens or 0,
                    record.reasoning_tokens or 0,
                    tool_calls=tool_calls(record.server_tools) if record.server_tools else {},
                    service_tier=record.service_tier,
                ),
                self._sheet,
            )
        except BillError:  # usage that can't be: the server's own bill stands, or there is none
            return None


def _components(part: Bill) -> dict[str, int]:
    return {
        "input": part.input_ticks,
        "cached_input": part.cached_ticks,
        "output": part.output_ticks,
        "reasoning": part.reasoning_ticks,
        "tool": part.tool_ticks,
    }
