"""How far the engine's computed times are from measured ones: TTFT and TPOT of public serving stacks.

    python benchmarks/engine_validation.py [CSV ...] [--json] [--markdown] [--every N] [--fit]

Every point is a closed loop simulated over the step-time model (servebench.engine.closed_loop); the constants
are global and few (catalog/data/stack_constants.yaml), and `held_out` uses for each architecture family the
set that was fitted without that family. Without CSV files: silicon/measured_points.csv in $SERVEBENCH_DATA or
../shared/data. Takes about 10 s of a core for 1,400 points. --fit fits all sets again to the given points,
writes them to the data file and reports: some 3 minutes of a core.
"""

import argparse
import datetime
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from measured_points import MeasuredPoint, as_arrays, read_points
from validation_figures import (
    about_constants,
    batch_of,
    both,
    calibrated,
    deepseek_day,
    grouped,
    lengths_of,
    ranking,
    software_efficiency,
    tier_latency_us,
    worst,
)
from validation_page import markdown_report
from validation_tables import text_report

from servebench.catalog.architectures import Family
from servebench.catalog.load import DATA
from servebench.catalog.stack_constants import (
    PRIOR_CONSTANTS,
    StackConstants,
    load_stack_constants,
)
from servebench.engine.closed_loop import Means
from servebench.engine.stack_fit import MAX_CONCURRENCY, Points, fit, predict
from servebench.errors import UsageError

CONSTANTS = DATA / "stack_constants.yaml"
FIT_EVERY = 3  # a third of the points fits as well as all of them, and leaves two thirds to check


@dataclass(frozen=True, slots=True)
class Predictions:
    """Arrays over the points: with the constants of all families, and of all others but the point's own."""

    all: Means
    held_out: Means


def default_csv() -> Path:
    root = Path(os.environ.get("SERVEBENCH_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    return root / "silicon" / "measured_points.csv"


def fitted_places(points: Points) -> np.ndarray:
    """The places of the points that a fit uses."""
    every = np.arange(0, len(points.ttft_s), FIT_EVERY)
    return every[points.loads.concurrency[every] <= MAX_CONCURRENCY]


def fit_all(
    points: Points, families: Sequence[Family]
) -> tuple[StackConstants, dict[Family, StackConstants]]:
    """The set of every point, and one without each family."""
    index = fitted_places(points)
    own = np.array([family.name for family in families])[index]
    print(f"fitting {len(index)} points ...", file=sys.stderr)
    everything = fit(points.take(index), start=PRIOR_CONSTANTS)
    without = {}
    for family in sorted(set(families)):
        others = index[own != family.name]
        print(f"fitting {len(others)} points without {family} ...", file=sys.stderr)
        without[family] = fit(points.take(others), start=everything)
    return everything, without


def store(
    everything: StackConstants, without: dict[Family, StackConstants], *, used: int, points: int
) -> None:
    """Writes the data file, with where it comes from."""
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    origin = (
        f"fitted to {used} of {points} measured points of public serving stacks (aiconfigurator) on {today}"
    )
    body = {
        "sources": {"fit": {"kind": "derived", "source": origin, "date": today}},
        "default": "fit",
        "fitted": {"values": _rounded(everything)},
        "without_family": {family.value: {"values": _rounded(c)} for family, c in without.items()},
    }
    head = (
        "# Written by benchmarks/engine_validation.py --fit; bounds and priors: catalog/stack_constants.py.\n"
    )
    CONSTANTS.write_text(head + yaml.safe_dump(body, sort_keys=False, width=110), encoding="utf-8")


def _rounded(constants: StackConstants) -> dict[str, float]:
    return {name: float(f"{value:.4g}") for name, value in asdict(constants).items()}


def predictions(
    points: Points, families: Sequence[Family], all_: StackConstants, without: dict[Family, StackConstants]
) -> Predictions:
    own = np.array([family.name for family in families])
    everything = predict(points, all_)
    held_out = Means(*(column.copy() for column in everything))
    for family in set(families):
        index = np.flatnonzero(own == family.name)
        for column, values in zip(
            held_out, predict(points.take(index), without.get(family, all_)), strict=True
        ):
            column[index] = values
    return Predictions(everything, held_out)


def report(rows: Sequence[MeasuredPoint], points: Points, found: Predictions) -> dict[str, Any]:
    every = np.arange(len(rows))
    held = both(found.held_out, points, every)
    held["by_family"] = grouped(rows, lambda r: r.deployment.model.family.value, found.held_out, points)
    return {
        "points": len(rows),
        "all": both(found.all, points, every),
        "by_model": grouped(rows, lambda r: r.deployment.model.id, found.all, points),
        "by_gpu": grouped(rows, lambda r: r.deployment.gpu.id, found.all, points),
        "by_backend": grouped(rows, lambda r: r.deployment.backend.value, found.all, points),
        "by_batch": grouped(rows, batch_of, found.all, points),
        "by_lengths": grouped(rows, lengths_of, found.all, points),
        "held_out": held,
        "ranking": {
            "tpot": ranking(rows, found.all.tpot_s, points.tpot_s),
            "ttft": ranking(rows, found.all.ttft_s, points.ttft_s),
            "held_out_tpot": ranking(rows, found.held_out.tpot_s, points.tpot_s),
        },
        "calibrated_two_constants": calibrated(rows, found.all, points),
        "worst": worst(rows, found.all, points),
        "software_efficiency": software_efficiency(rows, points),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("csv", nargs="*", type=Path)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--markdown", action="store_true", help="print the page docs/ENGINE_VALIDATION.md")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="use every Nth point only")
    parser.add_argument("--fit", action="store_true", help="fit the constants to these points and store them")
    options = parser.parse_args(arguments)
    if options.every < 1:
        parser.error("--every must be at least 1")
    try:
        rows, left_out = read_points(options.csv or [default_csv()])
        rows = rows[:: options.every]
        if not rows:
            reasons = "; ".join(f"{reason} ({rows_} rows)" for reason, rows_ in left_out.items())
            raise UsageError(f"no row can be used: {reasons}")
        points, families = as_arrays(rows), [row.deployment.model.family for row in rows]
        if options.fit:
            store(*fit_all(points, families), used=len(fitted_places(points)), points=len(rows))
        constants = load_stack_constants(CONSTANTS)
    except UsageError as error:
        print(error, file=sys.stderr)
        return 2
    found = predictions(points, families, constants.all, dict(constants.without))
    result = report(rows, points, found) | {
        "deepseek_day": deepseek_day(constants.all),
        "constants": about_constants(constants),
        "tier_latency_us": tier_latency_us(),
        "left_out": dict(left_out),
    }
    printed = (
        json.dumps(result) if options.json else (markdown_report if options.markdown else text_report)(result)
    )
    print(printed)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
