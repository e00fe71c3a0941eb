"""Calibrate and replay: does a profile fitted to a run give the run's latencies again, over HTTP?

    python benchmarks/calibration_round_trip.py [--scenario chat] [--rate 12] [--duration 90] [--json]

A mock serves a tier whose parameters the fit does not know (latency per layer, prefill efficiency, the
host's floor, the cost of a sequence and the memory's efficiency are moved off the catalog's); a run is
measured on it, `servebench calibrate` fits a profile to the run, and the same scenario with the same seed
is measured on a mock that serves the fitted profile. Compared: TTFT and TPOT at p50, p90 and p95, the
second run over the first. Beside each stands by how much two runs of one server differ there, with the same
requests and other step noise (95 %): an error within it says nothing against the fit.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from servebench.catalog.load import load_catalog
from servebench.catalog.profile import profile_text
from servebench.catalog.provenance import Kind, Source
from servebench.catalog.tiers import Tier
from servebench.results.run_directory import read_run
from servebench.results.summary import summarise_run

QUANTILES = (0.5, 0.9, 0.95)
GOAL = 0.05
HIDDEN = {  # factors on the catalog's profile
    "layer_latency_s": 1.3,
    "mfu": 0.65,
    "mfu_expert": 0.65,
    "mfu_attention": 0.65,
    "ttft_floor_s": 0.7,
    "sequence_overhead_s": 1.5,
    "hbm_efficiency": 0.9,
}


def hidden(tier: Tier) -> Tier:
    """The tier that the first mock serves."""
    changed = {name: getattr(tier.serving, name) * factor for name, factor in HIDDEN.items()}
    serving = replace(tier.serving, **changed)
    source = Source(Kind.ASSUMED, "moved off the catalog's for this benchmark", "2026")
    sources = {**tier.sources, **dict.fromkeys(HIDDEN, source)}
    return replace(tier, serving=serving, sources=sources, solved=None, operating_point=None)


def servebench(*arguments: str, accept: tuple[int, ...] = (0,)) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "servebench", *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode not in accept:
        raise SystemExit(f"servebench {' '.join(arguments)} ended {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout


def measured(run_dir: Path) -> dict[str, np.ndarray[Any, Any]]:
    """TTFT from the send and TPOT of the steady window, finite ones."""
    run = read_run(run_dir)
    window = summarise_run(run, price_of=None).window
    inside = run.columns.select(window.contains(run.columns.numbers["intended_ns"]))
    values = {name: inside.latency_s(name) for name in ("service_ttft", "tpot")}
    return {name: found[np.isfinite(found)] for name, found in values.items()}


def compare(first: Path, second: Path) -> dict[str, dict[str, float]]:
    """p50, p90 and p95 of the second run over those of the first, less 1."""
    one, other = measured(first), measured(second)
    return {
        name.removeprefix("service_"): {
            f"p{100 * q:g}": float(np.quantile(other[name], q) / np.quantile(one[name], q) - 1)
            for q in QUANTILES
        }
        for name in one
    }


def round_trip(
    directory: Path, *, scenario: str, tier_id: str, rate: float, duration: float, seed: int
) -> Any:
    tier = load_catalog().tier(tier_id)
    profiles = [directory / "hidden.yaml", directory / "fitted.yaml"]
    runs = [directory / "measured", directory / "replayed"]
    profiles[0].write_text(profile_text(hidden(tier)), encoding="utf-8")
    run = (
        "run", scenario, "--model", tier.id, "--target", "mock", "--rate", f"{rate:g}",
        "--duration", f"{duration:g}", "--seed", str(seed), "--quiet",
    )  # fmt: skip
    servebench(*run, "--profile", str(profiles[0]), "--out", str(runs[0]), accept=(0, 5))
    fitted = json.loads(servebench("calibrate", str(runs[0]), "--out", str(profiles[1]), "--json"))
    servebench(*run, "--profile", str(profiles[1]), "--out", str(runs[1]), accept=(0, 5))
    errors = compare(*runs)
    noise = {
        name: {f"p{100 * q:g}": fitted[name][f"p{100 * q:g}_noise"] for q in QUANTILES} for name in errors
    }
    return {
        "scenario": scenario,
        "tier": tier.id,
        "rate_rps": rate,
        "duration_s": duration,
        "requests": fitted["requests"],
        "hidden_factors": HIDDEN,
        "fitted_factors": fitted["factors"],
        "before": {name: fitted[f"{name}_of_the_base"] for name in ("ttft", "tpot")},
        "replayed_over_measured": errors,
        "two_runs_differ_by": noise,
        "beyond_goal_and_noise": [
            f"{name} {quantile}"
            for name, each in errors.items()
            for quantile, error in each.items()
            if abs(error) > max(GOAL, noise[name][quantile])
        ],
        "worst": max(abs(error) for each in errors.values() for error in each.values()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenario", default="chat")
    parser.add_argument("--tier", default="grok-4.3")
    parser.add_argument("--rate", type=float, default=12.0)
    parser.add_argument("--duration", type=float, default=90.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        found = round_trip(
            Path(directory),
            scenario=asked.scenario,
            tier_id=asked.tier,
            rate=asked.rate,
            duration=asked.duration,
            seed=asked.seed,
        )
    if asked.json:
        print(json.dumps(found, indent=2))
        return
    for name, each in found["replayed_over_measured"].items():
        noise = found["two_runs_differ_by"][name]
        said = ", ".join(
            f"{quantile} {error:+.1%} (±{noise[quantile]:.1%})" for quantile, error in each.items()
        )
        print(f"{name.upper()}, replayed over measured: {said}")
    beyond = ", ".join(found["beyond_goal_and_noise"]) or "none"
    print(
        f"worst {found['worst']:.1%} of {found['requests']} requests (goal: {GOAL:.0%}); beyond the goal "
        f"and what two runs of one server differ by (±): {beyond}"
    )


if __name__ == "__main__":
    main()
