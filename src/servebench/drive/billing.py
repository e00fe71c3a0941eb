"""What each request cost, put on its record: billed by the server, computed from usage, or estimated.

Billed wins where the server states it. A request that was sent and brought no usage (cut, aborted) is
estimated from its planned prompt and the chunks that came; one that never reached the server costs nothing.
"""

import dataclasses
import re
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


class Biller:
    """Bills records by one price sheet. Without one, cost stays None unless the server bills."""

    def __init__(self, sheet: PriceSheet | None) -> None:
        self._sheet = sheet

    def charge(
        self, record: RequestRecord, *, prompt_tokens: int, **more: Any
    ) -> tuple[RequestRecord, dict[str, int]]:
        """The record with its cost_usd and cost_source, and the ticks by component. more: fields to set."""
        ticks, source, parts = self._cost(record, prompt_tokens)
        if ticks is not None:
            more |= {"cost_usd": usd_text(ticks), "cost_source": source}
        return (dataclasses.replace(record, **more) if more else record), parts

    def ticks(self, record: RequestRecord, *, prompt_tokens: int) -> int:
        """What an attempt cost that is not the last, estimated where need be; 0 where nothing is known."""
        return self._cost(record, prompt_tokens)[0] or 0

    def settled(self, record: RequestRecord, *, prompt_tokens: int) -> int | None:
        """The bill as far as it is sure: what a budget may count as spent. None: it will never be known."""
        ticks, source, _ = self._cost(record, prompt_tokens)
        if source in ("billed", "computed") or record.sent_ns is None or record.outcome in _FREE | _REFUSED:
            return ticks or 0
        return None

    def _cost(self, record: RequestRecord, prompt_tokens: int) -> tuple[int | None, str, dict[str, int]]:
        computed = self._computed(record)
        if record.billed_ticks is not None:
            parts = _components(computed) if computed is not None else {}
            difference = record.billed_ticks - sum(parts.values())
            if difference:
                parts["unexplained"] = difference
            return record.billed_ticks, "billed", parts
        if computed is not None:
            return computed.total_ticks, "computed", _components(computed)
        if record.outcome in _REFUSED and _VIOLATION.search(record.error):
            return VIOLATION_TICKS, "estimated", {"unexplained": VIOLATION_TICKS}
        if self._sheet is None:
            return None, "", {}
        refused = record.outcome in _REFUSED or record.outcome is Outcome.HTTP_5XX
        if record.outcome in _FREE or refused or record.sent_ns is None:
            return 0, "estimated", {}
        visible = max(record.chunks - record.reasoning_chunks, 0)
        guess = bill(Usage(prompt_tokens, 0, visible, record.reasoning_chunks), self._sheet)
        return guess.total_ticks, "estimated", _components(guess)

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
