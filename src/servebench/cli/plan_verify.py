"""`servebench plan --verify`: the answer, or a share of it that one machine carries, measured on the mock."""

from pathlib import Path

import click

from servebench.plan.fleet_plan import FleetPlan, count_of

DURATION_S = 60.0
MOST_RPS = 60.0  # of calls: what a mock and its load generator carry on two cores with room


def verify_plan(
    plan: FleetPlan, scenario: str, *, profile: Path | None, texts: tuple[str, ...], silent: bool
) -> int:
    """Runs the scenario at the planned rate on a mock of the planned replicas; the run's own exit code.

    More than one machine carries: fewer replicas at their share of the rate, which is harder (a small fleet
    pools less). The run's arrivals are the scenario's own, not of the plan's burstiness.
    """
    from servebench.drive.start import RunRequest, start

    calls = plan.planner.demand().means().calls
    share = min(1.0, MOST_RPS / (plan.rate_rps * calls))
    replicas = max(1, int(plan.working * share))
    rate_rps = plan.rate_rps * replicas / plan.working
    click.echo(
        f"verifying on the mock: {count_of(replicas)} of {plan.working} at {rate_rps:.3g}/s, "
        f"{DURATION_S:g} s of arrivals ...",
        err=True,
    )
    request = RunRequest(
        scenario=scenario,
        model=plan.planner.tier.id,
        rate_rps=rate_rps,
        duration_s=DURATION_S,
        seed=plan.planner.seed,
        slo=texts,
        replicas=replicas,
        profiles=() if profile is None else (str(profile),),
        quiet=silent,
    )
    return start(request, spawn=True, silent=silent)
