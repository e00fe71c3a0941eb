"""The exit code of a run; when several hold, in the order 2, 1, 130, 6, 5, 3, 4."""

from typing import TYPE_CHECKING

from servebench.results.gate import Verdict

if TYPE_CHECKING:
    from servebench.results.summary import Summary

PASS, ERROR, USAGE, GATE_FAILED, INCONCLUSIVE, INVALID, BUDGET, INTERRUPTED = 0, 1, 2, 3, 4, 5, 6, 130


def exit_code(summary: "Summary", *, usage_error: bool = False, error: bool = False) -> int:
    """usage_error, error: what went wrong outside the records."""
    conditions = (
        (usage_error, USAGE),
        (error, ERROR),
        (summary.interrupted, INTERRUPTED),
        (summary.stopped_by_budget, BUDGET),
        (not summary.valid, INVALID),
        (summary.verdict is Verdict.FAIL, GATE_FAILED),
        (summary.verdict is Verdict.INCONCLUSIVE, INCONCLUSIVE),
    )
    return next((code for holds, code in conditions if holds), PASS)
