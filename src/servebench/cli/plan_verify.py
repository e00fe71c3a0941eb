"""`servebench plan --verify`: the answer, or a share of it that one machine carries, measured on the mock,
and the same requests simulated beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from servebench.errors import ServebenchError
from servebench.plan.fleet_plan import FleetPlan, count_of
from servebench.plan.objectives import samples_needed

if TYPE_CHECKING:
    from servebench.plan.replay_errors import Errors

DURATION_S, LONGEST_S = 60.0, 120.0  # of arrivals
# what a mock and its load generator carry on two cores with room: calls, and tokens that leave one by one
MOST_CALLS_PER_S, MOST_OUTPUT_TOKENS_PER_S = 60.0, 15_000.0
MISSES = 1  # of the hardest objective, which the run should be long enough to forgive
WARMUP_SHARE = 0.1  # of a run: what `servebench run` leaves out
SETTLED_SHARE = 0.5  # a run shorter than so many sessions is not full of them


@dataclass(frozen=True, slots=True)
class Share:
    """What is measured of a plan: so many of its replicas at their share of the rate."""

    replicas: int
    rate_rps: float
    duration_s: float
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verification:
    """exit_code: the run's. ttft, tpot: the same requests simulated, against the run; None where it has too
    few, or is INVALID.
    """

    share: Share
    exit_code: int
    run_dir: Path
    ttft: "Errors | None"
    tpot: "Errors | None"

    def to_json(self) -> dict[str, Any]:
        return {
            "exit_code": self.exit_code,
            "run": str(self.run_dir),
            "replicas": self.share.replicas,
            "rate_rps": self.share.rate_rps,
            "duration_s": self.share.duration_s,
            "simulated_over_measured": {
                name: None if found is None else {f"p{q * 100:g}": e for q, e in found.quantiles.items()}
                for name, found in (("ttft", self.ttft), ("tpot", self.tpot))
            },
        }


def share_of(plan: FleetPlan) -> Share:
    """Fewer replicas than planned where one machine can't carry all: harder, as a small fleet pools less."""
    planner, means = plan.planner, plan.planner.demand().means()
    most = min(
        1.0,
        MOST_CALLS_PER_S / (plan.rate_rps * means.calls),
        MOST_OUTPUT_TOKENS_PER_S / (plan.rate_rps * means.output_tokens),
    )
    replicas = max(1, int(plan.working * most))
    rate_rps = plan.rate_rps * replicas / plan.working
    calls_per_s, tokens_per_s = rate_rps * means.calls, rate_rps * means.output_tokens
    needed = planner.class_factor() * samples_needed(planner.slos, MISSES) / (1 - WARMUP_SHARE)
    duration_s = float(min(max(DURATION_S, ceil(needed / calls_per_s)), LONGEST_S))
    warnings = []
    if most < 1 / plan.working:
        warnings.append(
            f"one replica alone is asked {calls_per_s:.3g} calls/s and {tokens_per_s:,.0f} tokens/s, more "
            "than two cores carry with room: the run may end INVALID"
        )
    if needed > calls_per_s * duration_s:
        warnings.append(
            f"{calls_per_s * duration_s:,.0f} requests come in {duration_s:g} s and a verdict needs some "
            f"{needed:,.0f}: it may be INCONCLUSIVE (a higher --rate or a lower percentile needs less time)"
        )
    if planner.demand().has_sessions and duration_s < means.lasts_s / SETTLED_SHARE:
        warnings.append(
            f"a session lasts about {means.lasts_s:,.0f} s: in {duration_s:g} s the fleet does not fill with "
            "them, and the run sees less than the planned load"
        )
    return Share(replicas, rate_rps, duration_s, tuple(warnings))


def verify_plan(
    plan: FleetPlan, scenario: str, *, profile: Path | None, texts: Sequence[str], silent: bool
) -> Verification:
    """Runs the scenario at the planned rate on a mock of the planned replicas.

    The run's arrivals are the scenario's own, not of the plan's burstiness. silent: nothing on stdout.
    """
    from servebench.drive.options import free_run_dir
    from servebench.drive.start import RunRequest, start

    planner, share = plan.planner, share_of(plan)
    click.echo(
        f"verifying on the mock: {count_of(share.replicas)} of {plan.working} at {share.rate_rps:.3g} "
        f"{planner.unit}/s, {share.duration_s:g} s of arrivals ...",
        err=True,
    )
    for warning in share.warnings:
        click.echo(f"note: {warning}", err=True)
    split = planner.split
    groups = () if split is None else ("--disaggregate", f"{split.prefill}:{split.decode}")
    run_dir = free_run_dir(planner.scenario.name, planner.seed)
    request = RunRequest(
        scenario=scenario,
        model=planner.tier.id,
        rate_rps=share.rate_rps,
        duration_s=share.duration_s,
        seed=planner.seed,
        slo=tuple(texts),
        replicas=share.replicas,
        profiles=() if profile is None else (str(profile),),
        mock_flags=("--router", planner.router, *groups),
        out=str(run_dir),
        quiet=silent,
    )
    code = start(request, spawn=True, silent=silent)
    ttft, tpot = _simulated_beside(plan, run_dir, share.replicas)
    found = Verification(share, code, run_dir, ttft, tpot)
    for line in _lines(found):
        click.echo(line, err=silent)
    return found


def _simulated_beside(
    plan: FleetPlan, run_dir: Path, replicas: int
) -> tuple["Errors | None", "Errors | None"]:
    """The run's own requests at their own times in virtual time: simulated over measured latencies."""
    from servebench.plan.measured_load import measured_load
    from servebench.plan.replay_errors import errors
    from servebench.plan.simulation import simulate
    from servebench.results.run_directory import read_run
    from servebench.results.summary import summarise_run

    planner = plan.planner
    try:
        run = read_run(run_dir)
        load = measured_load(run, summarise_run(run, price_of=None))
    except ServebenchError:  # there is no run, it is INVALID, or too short to compare: the run has said so
        return None, None
    traffic, keys = load.traffic(block_tokens=planner.tier.serving.block_tokens)
    result = simulate(
        traffic,
        tier=planner.tier,
        gpu=planner.gpu,
        replicas=replicas,
        split=planner.split,
        router=planner.router,
        seed=planner.seed,
        warm_keys=keys,
    )
    return errors(result.ttft_s[None], load.ttft_s), errors(result.tpot_s[None], load.tpot_s)


def _lines(found: Verification) -> list[str]:
    if found.exit_code == 5:
        return [
            "verification: INVALID by the load generator's own faults, which says nothing of the plan: run "
            "it again on a quiet machine, or at a lower --rate"
        ]
    if found.ttft is None or found.tpot is None:
        return []
    said = [
        f"{name} " + ", ".join(f"p{q * 100:g} {e:+.1%}" for q, e in errors.quantiles.items())
        for name, errors in (("TTFT", found.ttft), ("TPOT", found.tpot))
    ]
    return [f"the same requests simulated, over what was measured: {'; '.join(said)}"]
