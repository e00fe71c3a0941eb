"""What became of a run's budget, for its manifest: the master's ledger, and what each shard handed in."""

from collections.abc import Mapping
from typing import Any

from servebench.cost.bill import usd_text
from servebench.cost.budget import Lender


def budget_facts(lender: Lender, finals: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Dollars as exact text. reserved: bounds of bills that never came, and a lost worker's whole lease.

    broken: requests that cost more than their bound; past the budget by broken_usd at most.
    """
    said = {shard: final["budget"] for shard, final in finals.items() if final.get("budget")}

    def total(name: str) -> int:
        return sum(int(one[name]) for one in said.values())

    def largest(name: str) -> int:
        return max((int(one[name]) for one in said.values()), default=0)

    silent = [shard for shard in lender.workers if shard not in said]  # lost, or the run goes on
    spent = total("spent_ticks") + sum(lender.spent_by(shard) for shard in silent)
    reserved = total("reserved_ticks") + sum(lender.lost_ticks(shard) for shard in silent)
    return {
        "max_cost_usd": usd_text(lender.budget_ticks),
        "spent_usd": usd_text(spent),
        "reserved_usd": usd_text(reserved),
        "kept_requests": total("kept_requests"),
        "bound_usd": usd_text(largest("largest_bound_ticks")),
        "bound_source": next((str(one["bound_source"]) for one in said.values()), None),
        "largest_reasoning_seen_tokens": largest("largest_reasoning_seen_tokens"),
        "broken": total("broken"),
        "broken_usd": usd_text(total("broken_ticks")),
        "largest_break_usd": usd_text(largest("largest_break_ticks")),
        "breaks": [row for one in said.values() for row in one["breaks"]][:20],
    }
