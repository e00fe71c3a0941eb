"""How fast the engine runs in virtual time, on one core.

    python benchmarks/simulator_speed.py [--requests 4000] [--runs 3] [--json]

Each case is a scenario at a rate on replicas of a tier, arrivals of CV 2, simulated to its end; drawing the
requests is not counted. Of sessions the rate is of sessions and the requests are their calls, about as many.
Medians over the runs, of processor time.
"""

import argparse
import json
import sys
from dataclasses import dataclass, replace
from statistics import median
from time import process_time
from typing import Any

from servebench.catalog.load import load_catalog
from servebench.engine.disaggregation import Split
from servebench.plan.demand import Demand
from servebench.plan.simulation import simulate
from servebench.workload.scenario import load_scenario


@dataclass(frozen=True, slots=True)
class Case:
    scenario: str
    rate_rps: float
    replicas: int
    drafts: int = 0
    split: Split | None = None
    router: str = "least-loaded"

    @property
    def name(self) -> str:
        more = [f"{self.drafts} drafts"] * bool(self.drafts)
        more += [f"split {self.split.prefill}:{self.split.decode}"] if self.split else []
        more += [self.router] * (self.router != "least-loaded")
        return ", ".join([f"{self.scenario} {self.rate_rps:g}/s on {self.replicas}", *more])


CASES = (
    Case("chat", 5, 1),
    Case("chat", 20, 1),
    Case("chat", 90, 1),
    Case("chat", 300, 8),
    Case("chat", 300, 8, router="prefix-aware"),
    Case("chat", 90, 2, drafts=3),
    Case("chat", 90, 1, split=Split(1, 2)),
    Case("mixed", 8, 2),
    Case("agent_tools", 0.5, 1, router="prefix-aware"),
    Case("agent_tools", 2, 4, router="prefix-aware"),
)


def measure(case: Case, requests: int, runs: int) -> dict[str, Any]:
    catalog = load_catalog()
    tier = catalog.tier("grok-4.3")
    if case.drafts:
        serving = replace(tier.serving, draft_tokens=case.drafts, accepted_tokens=1 + case.drafts / 2)
        tier = replace(tier, serving=serving)
    demand = Demand(load_scenario(case.scenario), tier, seed=1)
    arrivals = max(1, round(requests / demand.means().calls))
    traffic = demand.traffic(arrivals, rate_rps=case.rate_rps, cv=2.0)
    took_s = []
    for _ in range(runs):
        began_s = process_time()
        result = simulate(
            traffic,
            tier=tier,
            gpu=catalog.gpu(tier.serving.gpu_id),
            replicas=case.replicas,
            split=case.split,
            router=case.router,
            seed=1,
        )
        took_s.append(process_time() - began_s)
    seconds = median(took_s)
    return {
        "requests_per_s": len(result.arrival_s) / seconds,
        "steps_per_s": result.steps / seconds,
        "tokens_per_s": result.generated_tokens / seconds,
        "virtual_s_per_s": result.end_s / seconds,
        "mean_batch": result.generated_tokens / result.steps,
        "seconds": seconds,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--requests", type=int, default=4_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = {}
    for case in CASES:
        found[case.name] = row = measure(case, options.requests, options.runs)
        if not options.json:
            print(
                f"{case.name:38} {row['requests_per_s']:7,.0f} requests/s  {row['steps_per_s']:8,.0f} "
                f"steps/s  {row['tokens_per_s'] / 1e6:5.2f}M tokens/s  batch {row['mean_batch']:5.1f}  "
                f"{row['virtual_s_per_s']:6,.0f} virtual s a second",
                flush=True,
            )
    if options.json:
        print(json.dumps({"simulator": found, "requests": options.requests, "runs": options.runs}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
