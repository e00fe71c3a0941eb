"""The matrix: one workload measured on several models, a row each. A value made of their summaries.

Rows are of runs that had the same arrivals and lengths; workload_hash says whether they really had.
"""

from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any

from servebench.results.class_summary import ClassSummary
from servebench.results.money import plain
from servebench.results.summary import ALL, Summary

SCHEMA = 1
MATRIX = "matrix.json"
# DESIGN's order, worst first; 0 is the best
EXIT_ORDER = (2, 1, 130, 6, 5, 3, 4, 0)


@dataclass(frozen=True, slots=True)
class MatrixRun:
    """One model's run. summary None: it never came to one. run_dir: relative to the matrix's directory.

    status: of the tier in the catalog ("for sale", "announced", ""); price_kind: of its price sheet.
    """

    model: str
    name: str
    status: str
    price_kind: str | None
    run_dir: str
    exit_code: int
    workload_hash: str
    summary: Summary | None

    @property
    def modelled(self) -> bool:
        return self.price_kind == "MODELLED" or self.status == "announced"


@dataclass(frozen=True, slots=True)
class Matrix:
    """planned: every model that was to run, in order; runs: those that did. settings: what they share."""

    scenario: str
    seed: int
    target: str
    planned: tuple[str, ...]
    runs: tuple[MatrixRun, ...]
    settings: dict[str, Any]

    @property
    def complete(self) -> bool:
        return len(self.runs) == len(self.planned) and all(run.summary is not None for run in self.runs)

    @property
    def exit_code(self) -> int:
        """The worst of the runs', by DESIGN's order; 130 where some are still to come."""
        codes = [run.exit_code for run in self.runs] + ([] if self.complete else [130])
        return min(codes, key=_rank, default=0)

    @property
    def same_workload(self) -> bool:
        return len({run.workload_hash for run in self.runs}) <= 1

    def class_names(self) -> list[str]:
        """ "all", then those that any run has, in order."""
        names = [name for run in self.runs if run.summary for name in run.summary.classes if name != ALL]
        return [ALL, *sorted(set(names))]

    def to_json(self) -> dict[str, Any]:
        """matrix.json."""
        return {
            "schema": SCHEMA,
            "scenario": self.scenario,
            "seed": self.seed,
            "target": self.target,
            "planned": list(self.planned),
            "complete": self.complete,
            "exit_code": self.exit_code,
            "same_workload": self.same_workload,
            "settings": self.settings,
            "tiers": [_run_json(run) for run in self.runs],
        }


def _rank(code: int) -> int:
    return EXIT_ORDER.index(code) if code in EXIT_ORDER else 1


def _run_json(run: MatrixRun) -> dict[str, Any]:
    summary = run.summary
    return {
        "model": run.model,
        "status": run.status,
        "price_kind": run.price_kind,
        "run_dir": run.run_dir,
        "exit_code": run.exit_code,
        "workload_hash": run.workload_hash,
        "valid": None if summary is None else summary.valid,
        "verdict": None if summary is None or summary.verdict is None else summary.verdict.value,
        "classes": {} if summary is None else {name: one.to_json() for name, one in summary.classes.items()},
        "tasks": {} if summary is None else {name: one.to_json() for name, one in summary.tasks.items()},
    }


def interactivity(one: ClassSummary) -> float | None:
    """Tokens/s of one user, 1 / TPOT p50."""
    found = one.latency_s["tpot"].p50
    return None if found is None or not 0 < found.value < float("inf") else 1 / found.value


def usd_per_thousand(one: ClassSummary) -> str | None:
    """Dollars per thousand requests that succeeded, failures paid for."""
    if one.cost.usd is None or not one.completed:
        return None
    with localcontext(prec=60):
        return plain((one.cost.usd * 1000 / one.completed).quantize(Decimal("0.000001")))


def cached_share(one: ClassSummary) -> float | None:
    """Cached of all prompt tokens, as the server counted them."""
    prompt = one.tokens["input"] + one.tokens["cached_input"]
    return one.tokens["cached_input"] / prompt if prompt else None
