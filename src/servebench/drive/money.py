"""Money: a shard's part of the budget. It puts up a stake for each attempt, and settles it by the bill."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from servebench.cost.bill import usd_text
from servebench.cost.bound import Bound, Bounds
from servebench.cost.budget import Purse, Statement
from servebench.meter import RequestRecord
from servebench.workload.spec import RequestSpec

_SHOWN_BREAKS = 20


@dataclass(slots=True, eq=False)
class Stake:
    """What an attempt has reserved, or would like to. key: in the purse."""

    bound: Bound | None = None
    key: int = -1

    @property
    def ticks(self) -> int:
        return 0 if self.bound is None else self.bound.ticks


@dataclass(slots=True, eq=False)
class Money:
    """speak: brings a Statement to the master, whose answer comes to purse.take(). breaks: the first bills
    above their bound.
    """

    purse: Purse
    bounds: Bounds
    speak: Callable[[Statement], None]
    breaks: list[dict[str, Any]] = field(default_factory=list)
    _keys: int = 0

    def reserve(self, spec: RequestSpec, stake: Stake) -> bool:
        """Whether there is room; stake.ticks is what it takes either way."""
        stake.bound = self.bounds.of(
            prompt_tokens=spec.prompt_tokens,
            output_tokens=spec.output_tokens,
            effort=spec.reasoning_effort,
            tools=bool(spec.tool_names),
        )
        stake.key = self._keys
        if not self.purse.reserve(stake.key, stake.bound.ticks):
            return False
        self._keys += 1
        return True

    def settle(self, stake: Stake, record: RequestRecord, ticks: int | None, *, effort: str | None) -> None:
        """ticks: the bill of the attempt; None: it will never be known."""
        bound = stake.bound
        assert bound is not None
        if ticks is None:
            self.purse.keep(stake.key)
        elif self.purse.settle(stake.key, ticks) and len(self.breaks) < _SHOWN_BREAKS:
            shown = {"id": record.id, "bound_usd": usd_text(bound.ticks), "bill_usd": usd_text(ticks)}
            self.breaks.append(shown)
        if record.usage_source == "usage":
            self.bounds.saw(
                bound,
                prompt=record.prompt_tokens or 0,
                output=record.completion_tokens or 0,
                reasoning=record.reasoning_tokens or 0,
                effort=effort,
            )

    def tell(self, need: int) -> None:
        """The master, if it should hear something. need: of the oldest request that waits, 0 if none does."""
        if self.purse.wants_to_speak(need):
            self.speak(self.purse.speak(need))

    def final(self) -> dict[str, Any]:
        """For the manifest, in ticks."""
        purse, bounds = self.purse, self.bounds
        return {
            "spent_ticks": purse.spent,
            "reserved_ticks": purse.kept + purse.reserved,
            "kept_requests": purse.kept_requests,
            "broken": purse.broken,
            "broken_ticks": purse.broken_ticks,
            "largest_break_ticks": purse.largest_break_ticks,
            "breaks": self.breaks,
            "largest_bound_ticks": bounds.largest_ticks,
            "largest_reasoning_seen_tokens": bounds.largest_reasoning_seen,
            "bound_source": bounds.terms.source,
        }
