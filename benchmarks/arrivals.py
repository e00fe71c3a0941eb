"""The draws of each arrival process against their theory, as 1, 2 and 4 workers put them together.

    python benchmarks/arrivals.py [--rate 100] [--seconds 120] [--seeds 20] [--workers 1,2,4] [--json]

Each worker is a process of its own that builds the plan and takes its slice, as in a run. Of the shards put
together, over the seeds: the rate, the CV of the gaps, their lag-1 correlation, the index of dispersion of
the counts in windows of 1 s (arrival_statistics.py; theory: arrival_theory.py) and the distribution of the
gaps. z: (mean over the seeds - theory) / its standard error; a test passes unless Student's t gives less
than the chance of four standard errors. Distribution: of independent gaps Kolmogorov's test, of others the
distance of all gaps together, at most 0.02.

Arrivals of a moving rate are judged in operational time, where they are those of the constant rate: each at
the area under the rate's curve, which is summed here and not asked of the product.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from arrival_statistics import (
    MAX_DISTANCE,
    MIN_CHANCE,
    STATISTICS,
    Floats,
    Ints,
    even_chance,
    gap_distance,
    judge,
    pooled_distance,
    residuals,
)
from arrival_theory import theory_of

from servebench.workload.load import Load
from servebench.workload.plan import WorkloadPlan

WINDOW_S = 1.0
_STEPS_A_SECOND = 10_000  # of the sum that gives a curve's area
_KEYS = dict(zip(STATISTICS, ("rate_rps", "cv", "lag1", "dispersion"), strict=True))


@dataclass(frozen=True, slots=True)
class Case:
    """A load; factor: of a moving rate at each share of the run."""

    load: dict[str, Any]
    factor: Callable[[Floats], Floats] | None = None
    shape: Callable[[float], dict[str, Any]] = field(default=lambda seconds: {})


def _stages(seconds: float) -> dict[str, Any]:
    ramp, step = (
        {"duration_s": seconds / 2, "start": 0.4, "end": 1.2},
        {"duration_s": 1, "start": 2, "end": 2},
    )
    return {"shape": {"kind": "stages", "stages": [ramp, step]}}


def _day(seconds: float) -> dict[str, Any]:
    return {"shape": {"kind": "diurnal", "amplitude": 0.8, "period_s": seconds, "peak_s": seconds / 3}}


CASES = {
    "constant": Case({"process": "constant"}),
    "poisson": Case({"process": "poisson"}),
    "gamma, CV 0.5": Case({"process": "gamma", "cv": 0.5}),
    "gamma, CV 2": Case({"process": "gamma", "cv": 2.0}),
    "mmpp": Case({"process": "mmpp", "bursts": {"ratio": 6.0, "burst_s": 0.5, "calm_s": 1.0}}),
    "clients": Case({"process": "clients", "clients": {"count": 50, "top": 5, "top_share": 0.6}}),
    "poisson, a day": Case({"process": "poisson"}, lambda x: 1 + 0.8 * np.cos(2 * np.pi * (x - 1 / 3)), _day),
    "gamma 0.5, stages": Case(
        {"process": "gamma", "cv": 0.5}, lambda x: np.where(x < 0.5, 0.4 + 1.6 * x, 2.0), _stages
    ),
}


def load_of(case: Case, options: argparse.Namespace) -> Load:
    asked = {**case.load, "rate_rps": options.rate, "duration_s": options.seconds}
    return Load.model_validate(asked | case.shape(options.seconds))


def plans_of(case: Case, options: argparse.Namespace) -> list[dict[str, Any]]:
    from servebench.drive.options import build_plan  # the workers have no need of it
    from servebench.workload.scenario import load_scenario

    scenario = load_scenario("chat").model_copy(update={"load": load_of(case, options)})
    made = [build_plan(scenario, model=None, seed=seed, warmup_s=0.0) for seed in range(options.seeds)]
    return [plan.model_dump(mode="json") for plan in made]


def worker() -> None:
    """Reads [shard, shards, plans]; writes the intended starts of its slices, each after its count."""
    shard, shards, plans = json.load(sys.stdin)
    for plan in plans:
        mine = WorkloadPlan.model_validate(plan).build().intended_ns[shard::shards]
        sys.stdout.buffer.write(np.concatenate(([len(mine)], mine)).astype(np.int64).tobytes())


def put_together(plans: list[dict[str, Any]], workers: int) -> list[Ints]:
    """The starts of each plan, as so many workers have them."""
    processes = []
    for shard in range(workers):
        process = subprocess.Popen(
            [sys.executable, __file__, "--worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        processes.append((process, json.dumps([shard, workers, plans]).encode()))
    found: list[list[Ints]] = [[] for _ in plans]
    for process, message in processes:
        out, _ = process.communicate(message, timeout=300)
        if process.returncode:
            raise SystemExit(f"a worker failed ({process.returncode})")
        values, at = np.frombuffer(out, dtype=np.int64), 0
        for parts in found:
            parts.append(values[at + 1 : at + 1 + values[at]])
            at += 1 + int(values[at])
    return [np.sort(np.concatenate(parts)) for parts in found]


def area_s(times_s: Floats, factor: Callable[[Floats], Floats], seconds: float) -> Floats:
    """Seconds of operational time until each: the area under the factor."""
    edges = np.linspace(0, 1, round(seconds * _STEPS_A_SECOND) + 1)
    middles = factor((edges[1:] + edges[:-1]) / 2)
    areas = np.concatenate(([0.0], np.cumsum(middles))) * (edges[1] * seconds)
    return np.asarray(np.interp(times_s, edges * seconds, areas))


def row_of(case: Case, drawn: list[Ints], options: argparse.Namespace) -> dict[str, Any]:
    """Each statistic of one process with its theory, z and whether it passes."""
    row: dict[str, Any] = {"arrivals": sum(map(len, drawn))}
    if case.load["process"] == "constant":
        return row | _constant(drawn, options)
    seconds = options.seconds
    if case.factor is not None:
        drawn = [
            np.rint(area_s(starts / 1e9, case.factor, seconds) * 1e9).astype(np.int64) for starts in drawn
        ]
        seconds = float(area_s(np.array([seconds]), case.factor, seconds)[0])
    load = load_of(case, options)
    theories = [theory_of(load, rate_rps=options.rate, seed=seed) for seed in range(len(drawn))]
    made = [
        residuals(starts, theory, seconds=seconds, window_s=WINDOW_S)
        for starts, theory in zip(drawn, theories, strict=True)
    ]
    judged = {name: judge([one[name] for one in made]) for name in STATISTICS}
    cv = float(np.mean([theory.moments.cv for theory in theories]))
    lag1 = float(np.mean([theory.moments.lag1 for theory in theories]))
    dispersion = float(np.mean([theory.dispersion(WINDOW_S) for theory in theories]))
    found = {
        "rate": (options.rate + judged["rate"].mean, options.rate),
        "cv": (cv * (1 + judged["cv"].mean) ** 0.5, cv),
        "lag1": (lag1 + judged["lag1"].mean, lag1),
        "dispersion": (dispersion * (1 + judged["dispersion"].mean), dispersion),
    }
    for name, (mean, truth) in found.items():
        row[_KEYS[name]] = {
            "mean": round(mean, 5), "theory": round(truth, 5) + 0.0,
            "z": round(judged[name].z, 2), "passes": judged[name].passes,
        }  # fmt: skip
    if theories[0].independent_gaps:
        tests = [gap_distance(starts, theory) for starts, theory in zip(drawn, theories, strict=True)]
        distance, p = float(np.mean([one for one, _ in tests])), even_chance([chance for _, chance in tests])
        row["distribution"] = {
            "distance": round(distance, 5), "p": round(p, 4), "passes": p >= MIN_CHANCE
        }  # fmt: skip
    else:
        distance = pooled_distance(drawn, theories)
        row["distribution"] = {"distance": round(distance, 5), "p": None, "passes": distance <= MAX_DISTANCE}
    return row


def _constant(drawn: list[Ints], options: argparse.Namespace) -> dict[str, Any]:
    """No chance in it: start k at k / rate, to the ns."""
    count = int(np.ceil(options.rate * options.seconds))
    due_ns = np.arange(count) * (1e9 / options.rate)
    counted = all(len(starts) == count for starts in drawn)
    exact = counted and all(float(np.abs(starts - due_ns).max()) <= 1 for starts in drawn)
    rate = float(np.mean([len(starts) for starts in drawn])) / options.seconds
    return {"rate_rps": {"mean": rate, "theory": options.rate, "z": None, "passes": counted},
            "starts": {"exact": exact, "passes": exact}}  # fmt: skip


def passes(row: dict[str, Any]) -> bool:
    return all(one["passes"] for one in row.values() if isinstance(one, dict))


def show(name: str, workers: int, row: dict[str, Any]) -> None:
    parts = []
    for key in _KEYS.values():
        if key in row:
            one = row[key]
            z = "" if one["z"] is None else f"; z {one['z']:+.1f}"
            parts.append(f"{key} {one['mean']:.4g} ({one['theory']:.4g}{z})")
    ks = row.get("distribution")
    if ks is None:
        parts.append("start k at k / rate" if row["starts"]["exact"] else "starts off their times")
    else:
        parts.append(f"KS distance {ks['distance']:.4f}" + ("" if ks["p"] is None else f", p {ks['p']:.3f}"))
    count = f"{workers} worker{'s' * (workers > 1)}:"
    print(f"{name:17} {count:10} {', '.join(parts)}: {'pass' if passes(row) else 'FAIL'}")


def main() -> int:
    if sys.argv[1:] == ["--worker"]:
        worker()
        return 0
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rate", type=float, default=100.0, help="requests/s")
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--workers", default="1,2,4", help="comma-separated")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.seeds < 2 or options.rate * options.seconds < 1000:
        parser.error("a standard error wants --seeds >= 2 and 1000 arrivals a seed")
    counts = [int(text) for text in options.workers.split(",")]
    plans = [plan for case in CASES.values() for plan in plans_of(case, options)]
    drawn = {workers: put_together(plans, workers) for workers in counts}
    same = all(
        np.array_equal(one, other)
        for starts in drawn.values()
        for one, other in zip(starts, drawn[counts[0]], strict=True)
    )
    result: dict[str, dict[str, Any]] = {}
    for number, (name, case) in enumerate(CASES.items()):
        mine = slice(number * options.seeds, (number + 1) * options.seeds)
        for workers in counts:
            # equal arrivals have equal statistics
            known = result.get(name, {}).get(str(counts[0])) if same else None
            row = known or row_of(case, drawn[workers][mine], options)
            result.setdefault(name, {})[str(workers)] = row
            if not options.json:
                show(name, workers, row)
    passed = same and all(passes(row) for rows in result.values() for row in rows.values())
    if options.json:
        print(json.dumps({"processes": result, "same_for_all_workers": same, "passed": passed}, indent=2))
    else:
        print(f"the same arrivals whatever the number of workers: {same}; all tests passed: {passed}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
