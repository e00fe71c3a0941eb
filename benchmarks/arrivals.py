"""The draws of each arrival process against their theory, as 1, 2 and 4 workers put them together.

    python benchmarks/arrivals.py [--rate 100] [--seconds 120] [--seeds 20] [--workers 1,2,4] [--json]

Each worker is a process of its own that builds the plan and takes its slice, as in a run. Of the shards put
together, over the seeds: the rate, the CV of the gaps, their lag-1 correlation, the index of dispersion of
the counts in windows of 1 s and their distribution (Kolmogorov-Smirnov). z: (mean over the seeds - theory) /
its standard error; a test passes at |z| <= 4. Theory: gaps of a renewal process are independent, the counts
of an equilibrium one vary as I(w) = CV^2 + (1 - CV^4)/(6 rate w) (Cox, Renewal Theory, 1962, for Gamma gaps);
MMPP(2) by its matrices (Fischer and Meier-Hellstern, 1993). A mixture of clients has theory for its rate and
for its dispersion in the long run only.
"""

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from servebench.drive.options import build_plan
from servebench.workload.bursts import dispersion
from servebench.workload.load import Load
from servebench.workload.plan import WorkloadPlan
from servebench.workload.scenario import load_scenario

WINDOW_S = 1.0
MAX_Z = 4.0
MAX_DISTANCE = 0.02  # of a distribution whose gaps are not independent: a test would not hold
LOADS: dict[str, dict[str, Any]] = {
    "constant": {"process": "constant"},
    "poisson": {"process": "poisson"},
    "gamma, CV 0.5": {"process": "gamma", "cv": 0.5},
    "gamma, CV 2": {"process": "gamma", "cv": 2.0},
    "mmpp": {"process": "mmpp", "bursts": {"ratio": 6.0, "burst_s": 0.5, "calm_s": 1.0}},
    "clients": {"process": "clients", "clients": {"count": 50, "top": 5, "top_share": 0.6}},
}
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Theory:
    """None: no closed form. independent: gaps of one distribution, whose quantiles a test may judge."""

    cv: float | None
    lag1: float | None
    dispersion: float | None
    independent: bool = True


def plan_of(load: dict[str, Any], options: argparse.Namespace, seed: int) -> WorkloadPlan:
    scenario = load_scenario("chat")
    asked = Load.model_validate({**load, "rate_rps": options.rate, "duration_s": options.seconds})
    return build_plan(scenario.model_copy(update={"load": asked}), model=None, seed=seed, warmup_s=0.0)


def worker() -> None:
    """Reads [shard, shards, plans]; writes the intended starts of its slices, each after its count."""
    shard, shards, plans = json.load(sys.stdin)
    for plan in plans:
        mine = WorkloadPlan.model_validate(plan).build().intended_ns[shard::shards]
        sys.stdout.buffer.write(np.array([len(mine), *mine.tolist()], dtype=np.int64).tobytes())


def put_together(plans: list[WorkloadPlan], workers: int) -> list[NDArray[np.int64]]:
    """The starts of each plan, as so many workers have them."""
    asked = [plan.model_dump(mode="json") for plan in plans]
    processes = []
    for shard in range(workers):
        process = subprocess.Popen(
            [sys.executable, __file__, "--worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        processes.append((process, json.dumps([shard, workers, asked]).encode()))
    found: list[list[NDArray[np.int64]]] = [[] for _ in plans]
    for process, message in processes:
        out, _ = process.communicate(message, timeout=300)
        values, at = np.frombuffer(out, dtype=np.int64), 0
        for parts in found:
            parts.append(values[at + 1 : at + 1 + values[at]])
            at += 1 + int(values[at])
    return [np.sort(np.concatenate(parts)) for parts in found]


def theory_of(load: Load, rate_rps: float) -> Theory:
    if load.process == "constant":
        return Theory(0.0, None, 0.0)
    if load.process == "mmpp" and load.bursts is not None:
        high, low, out, back = _mmpp(load, rate_rps)
        rest = high * low + high * back + low * out
        square = 1 + 2 * out * back * (high - low) ** 2 / ((out + back) ** 2 * rest)
        lag1 = 0.5 * (1 - 1 / square) * high * low / rest
        return Theory(square**0.5, lag1, dispersion(load.bursts, rate_rps=rate_rps, window_s=WINDOW_S), False)
    if load.process == "clients":
        return Theory(None, None, None, False)
    cv = 1.0 if load.process == "poisson" else float(load.cv or 1.0)
    return Theory(cv, 0.0, cv**2 + (1 - cv**4) / (6 * rate_rps * WINDOW_S))


def _mmpp(load: Load, rate_rps: float) -> tuple[float, float, float, float]:
    """Rates in burst and calm; of leaving the burst, and the calm."""
    bursts = load.bursts
    assert bursts is not None
    low = rate_rps * bursts.calm_factor
    return low * bursts.ratio, low, 1 / bursts.burst_s, 1 / bursts.calm_s


def gap_distribution(load: Load, rate_rps: float, gaps_s: Floats) -> Floats | None:
    """The probability of a gap up to each of these; None: no closed form."""
    if load.process in ("poisson", "gamma"):
        shape = 1.0 if load.process == "poisson" else float(load.cv or 1.0) ** -2
        return np.asarray(stats.gamma.cdf(gaps_s, shape, scale=1 / (rate_rps * shape)))
    if load.process != "mmpp":
        return None
    high, low, out, back = _mmpp(load, rate_rps)
    states = np.array([[-out - high, out], [back, -back - low]])
    seen = np.array([back * high, out * low])  # shares of time in burst and calm, times the rate there
    values, vectors = np.linalg.eig(states)
    weights = (seen / seen.sum() @ vectors) * np.linalg.solve(vectors, np.ones(2))
    return np.asarray(1 - np.exp(np.outer(gaps_s, values.real)) @ weights.real)


def statistics(starts_ns: NDArray[np.int64], seconds: float) -> dict[str, float]:
    gaps = np.diff(starts_ns) / 1e9
    counts, _ = np.histogram(starts_ns / 1e9, np.arange(0, seconds + WINDOW_S / 2, WINDOW_S))
    constant = float(gaps.std()) < 1e-8
    return {
        "rate_rps": len(starts_ns) / seconds,
        "cv": float(gaps.std() / gaps.mean()),
        "lag1": 0.0 if constant else float(np.corrcoef(gaps[1:], gaps[:-1])[0, 1]),
        "dispersion": float(counts.var(ddof=1) / counts.mean()),
    }


def judge(name: str, drawn: list[NDArray[np.int64]], options: argparse.Namespace) -> dict[str, Any]:
    """The row of one process: each statistic with its theory, z and whether it passes."""
    load = Load.model_validate({**LOADS[name], "rate_rps": options.rate, "duration_s": options.seconds})
    theory = theory_of(load, options.rate)
    made = [statistics(starts, options.seconds) for starts in drawn]
    wanted = {
        "rate_rps": options.rate, "cv": theory.cv, "lag1": theory.lag1, "dispersion": theory.dispersion,
    }  # fmt: skip
    row: dict[str, Any] = {"arrivals": sum(map(len, drawn))}
    for key, truth in wanted.items():
        values = np.array([one[key] for one in made])
        mean, error = float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5)
        z = None if truth is None else 0.0 if abs(mean - truth) < 1e-6 else (mean - truth) / max(error, 1e-12)
        row[key] = {"mean": round(mean, 5), "theory": truth, "z": None if z is None else round(z, 2),
                    "passes": z is None or abs(z) <= MAX_Z}  # fmt: skip
    row["distribution"] = _distribution(load, theory, drawn, options)
    return row


def _distribution(
    load: Load, theory: Theory, drawn: list[NDArray[np.int64]], options: argparse.Namespace
) -> dict[str, Any]:
    distances, chances = [], []
    for starts in drawn:
        gaps_ns, counts = np.unique(np.diff(starts), return_counts=True)
        # gaps are whole ns: at CV 2 and 100/s one of a hundred rounds to 0
        upto = gap_distribution(load, options.rate, (gaps_ns + 0.5) / 1e9)
        below = gap_distribution(load, options.rate, (gaps_ns - 0.5).clip(0) / 1e9)
        if upto is None or below is None:
            even = bool(load.process != "constant" or np.ptp(gaps_ns) <= 1)
            return {"distance": None, "p": None, "passes": even}
        steps = np.concatenate(([0], np.cumsum(counts))) / counts.sum()
        distance = float(max(np.abs(steps[1:] - upto).max(), np.abs(below - steps[:-1]).max()))
        distances.append(distance)
        chances.append(float(stats.kstwo.sf(distance, counts.sum())))
    if not theory.independent:
        whole = float(np.mean(distances))
        return {"distance": round(whole, 5), "p": None, "passes": whole <= MAX_DISTANCE}
    # chances of a true distribution are even between 0 and 1
    p = float(stats.kstest(chances, "uniform").pvalue)
    return {"distance": round(float(np.mean(distances)), 5), "p": round(p, 4), "passes": p >= 1e-4}


def show(name: str, workers: int, row: dict[str, Any]) -> None:
    parts = []
    for key in ("rate_rps", "cv", "lag1", "dispersion"):
        one = row[key]
        truth = "" if one["theory"] is None else f" ({one['theory']:.4g}; z {one['z']:+.1f})"
        parts.append(f"{key} {one['mean']:.4g}{truth}")
    ks = row["distribution"]
    if ks["distance"] is not None:
        parts.append(f"KS distance {ks['distance']:.4f}" + ("" if ks["p"] is None else f", p {ks['p']:.3f}"))
    good = all(one["passes"] for one in row.values() if isinstance(one, dict))
    print(
        f"{name:14} {workers} worker{'s' * (workers > 1)}: {', '.join(parts)}: {'pass' if good else 'FAIL'}"
    )


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
    result: dict[str, dict[str, Any]] = {}
    same = True
    for name, load in LOADS.items():
        plans = [plan_of(load, options, seed) for seed in range(options.seeds)]
        first: list[NDArray[np.int64]] | None = None
        for workers in (int(text) for text in options.workers.split(",")):
            drawn = put_together(plans, workers)
            same = same and (first is None or all(map(np.array_equal, first, drawn)))
            first = first or drawn
            row = result.setdefault(name, {})[str(workers)] = judge(name, drawn, options)
            if not options.json:
                show(name, workers, row)
    passed = same and all(
        one["passes"]
        for rows in result.values()
        for row in rows.values()
        for one in row.values()
        if isinstance(one, dict)
    )
    if options.json:
        print(json.dumps({"processes": result, "same_for_all_workers": same, "passed": passed}, indent=2))
    else:
        print(f"the same arrivals whatever the number of workers: {same}; all tests passed: {passed}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
