"""What each request cost, put on its record: billed by the server, computed from usage, or estimated.

Billed wins where the server states it. A request that was sent and brought no usage (cut, aborted) is
estimated from its planned prompt and the chunks that came; one that never reached the server costs nothing.
"""

import dataclasses

from servebench.catalog.load import load_catalog
from servebench.catalog.prices import PriceSheet
from servebench.cost.bill import Bill, BillError, Usage, bill, usd_text
from servebench.errors import UsageError
from servebench.meter import Outcome, RequestRecord

_FREE = {Outcome.UNSENT, Outcome.SHED, Outcome.CONNECT_ERROR}
# whether providers bill refused requests is not published; xAI's documented exceptions don't apply here
_REFUSED = {Outcome.HTTP_4XX, Outcome.HTTP_429, Outcome.HTTP_5XX}


class Biller:
    """Bills records of one model. A model without a known price leaves cost None unless the server bills."""

    def __init__(self, model: str) -> None:
        self._sheet: PriceSheet | None
        try:
            self._sheet = load_catalog().price(model)
        except UsageError:
            self._sheet = None

    def charge(self, record: RequestRecord, *, prompt_tokens: int) -> tuple[RequestRecord, dict[str, int]]:
        """The record with its cost_usd and cost_source, and the ticks by component."""
        computed = self._computed(record)
        if record.billed_ticks is not None:
            parts = _components(computed) if computed is not None else {}
            difference = record.billed_ticks - sum(parts.values())
            if difference:
                parts["unexplained"] = difference
            return _with_cost(record, record.billed_ticks, "billed"), parts
        if computed is not None:
            return _with_cost(record, computed.total_ticks, "computed"), _components(computed)
        if self._sheet is None:
            return record, {}
        if record.outcome in _FREE or record.outcome in _REFUSED or record.sent_ns is None:
            return _with_cost(record, 0, "estimated"), {}
        visible = max(record.chunks - record.reasoning_chunks, 0)
        guess = bill(Usage(prompt_tokens, 0, visible, record.reasoning_chunks), self._sheet)
        return _with_cost(record, guess.total_ticks, "estimated"), _components(guess)

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


def _with_cost(record: RequestRecord, ticks: int, source: str) -> RequestRecord:
    return dataclasses.replace(record, cost_usd=usd_text(ticks), cost_source=source)
