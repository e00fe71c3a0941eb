"""How many replicas a rate needs: one replica's capacity by simulation, then whole fleets simulated.

    lambda* = the highest rate at which one replica passes every objective (doubling, log bisection to 4 %)
    R about ceil(rate / (0.8 lambda*)),  and the smallest R of which a fleet passes at rate / 0.8

Alone, a replica suffers bursts that a fleet shares; and prompts of a burst share a step, which a fleet that
spreads them does not save. So one replica's capacity only says where to look, and the fleet itself is
simulated. Capacity is confirmed with two more seeds. Arrivals are Gamma with CV 2 unless asked otherwise:
measured clients are burstier than Poisson.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import ceil

import numpy as np

from servebench.catalog.hardware import Gpu
from servebench.catalog.tiers import Tier
from servebench.engine.disaggregation import Split
from servebench.engine.step_time import StepTimeModel
from servebench.plan.demand import Demand
from servebench.plan.objectives import (
    Check,
    check,
    judged,
    queue_grows,
    samples_needed,
)
from servebench.plan.search import TOLERANCE, Found, fewest_passing, highest_passing
from servebench.plan.simulated import WARMUP_SHARE, SimulationResult
from servebench.plan.simulation import simulate
from servebench.results.gate import Verdict
from servebench.results.slo import Slo
from servebench.workload.scenario import Scenario

LOAD_SHARE = 0.8  # of a replica's capacity, so that bursts and failures have room
PROBE_S = 120.0  # simulated seconds of a probe, or the samples that the percentile needs
SESSION_SPANS = 1.8  # simulated seconds of a probe of sessions, in lengths of one
MAX_REQUESTS = 40_000  # of one simulation: about two seconds of a core
MAX_SESSION_CALLS = 60_000  # of sessions, which must fill the fleet before anything is measured
MAX_REPLICAS = 32  # of one simulation: more pool hardly more, and take ten seconds a probe
SESSION_TAIL_S = 60.0  # that sessions go on after the last has begun, so that no judged call runs alone
CONFIRMING_SEEDS = 2
MORE_FLEETS = 10  # tried beyond what one replica's capacity asks for
LOWEST_SHARE = 1e-3  # of the first guess: there requests are served alone

OnProgress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Probe:
    """One simulated run: so many replicas at a rate, and what became of each objective."""

    replicas: int
    rate_rps: float
    arrival_cv: float
    seed: int
    verdict: Verdict
    checks: tuple[Check, ...]
    queue_grows: bool
    result: SimulationResult = field(repr=False)

    @property
    def worst(self) -> Check:
        """The objective furthest beyond its limit, or closest to it."""
        return max(self.checks, key=_strain)


@dataclass(frozen=True, slots=True)
class ReplicaCapacity:
    """What one replica carries within the objectives. rps 0: not even requests that hardly ever meet, and
    `alone` says why."""

    rps: float
    found: Found | None
    arrival_cv: float
    alone: Probe | None


class Planner:
    """Simulates one scenario on one tier for a set of objectives. Every answer is the same for the same
    seed.

    split: what is planned by number is then a group of replicas, some that prefill and some that decode.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        tier: Tier,
        gpu: Gpu,
        slos: Sequence[Slo],
        seed: int = 0,
        router: str = "least-loaded",
        split: Split | None = None,
        probe_s: float = PROBE_S,
        tolerance: float = TOLERANCE,
        on_progress: OnProgress | None = None,
    ) -> None:
        self.tier, self.gpu, self.seed, self.router, self.split = tier, gpu, seed, router, split
        self.slos = judged(slos)
        self.scenario = scenario
        self._probe_s, self._tolerance = probe_s, tolerance
        self._on_progress = on_progress or (lambda text: None)
        self._demands: dict[int, Demand] = {}
        self._samples = samples_needed(self.slos)
        self._probes = 0

    @property
    def gpus_per_replica(self) -> int:
        """Of a replica, or of a whole group."""
        return self.tier.serving.gpus * (1 if self.split is None else self.split.replicas)

    @property
    def unit(self) -> str:
        """What a rate counts."""
        return "sessions" if self.demand().has_sessions else "requests"

    def demand(self, seed: int | None = None) -> Demand:
        seed = self.seed if seed is None else seed
        if seed not in self._demands:
            self._demands[seed] = Demand(self.scenario, self.tier, seed=seed)
        return self._demands[seed]

    def requests_for(self, rate_rps: float) -> int:
        """Arrivals of a run at this rate: two minutes of it, the percentile's samples after warm-up at least;
        of sessions as many as start while two of them would follow one another."""
        means = self.demand().means()
        least = ceil(self.class_factor() * self._samples / (1 - WARMUP_SHARE) / means.calls) + 1
        if self.demand().has_sessions:  # half of the span, once the fleet is full of them, is measured
            return max(2 * least, ceil(rate_rps * max(self._probe_s / 2, SESSION_SPANS * means.lasts_s)))
        return max(least, ceil(rate_rps * self._probe_s))

    def _most_calls(self) -> int:
        return MAX_SESSION_CALLS if self.demand().has_sessions else MAX_REQUESTS

    def class_factor(self) -> float:
        """By how much more requests are needed where an objective is about a rare class only."""
        weights = {cls.name: cls.weight for cls in self.scenario.classes}
        total = sum(weights.values())
        shares = [weights[slo.class_name] / total for slo in self.slos if slo.class_name is not None]
        return 1.1 / min((share for share in shares if share > 0), default=1.1)

    def probe(self, rate_rps: float, *, replicas: int, cv: float, seed: int | None = None) -> Probe:
        """Simulates and judges. INCONCLUSIVE only where no objective failed and some has too few samples."""
        seed = self.seed if seed is None else seed
        demand = self.demand(seed)
        count = min(self.requests_for(rate_rps), int(self._most_calls() / demand.means().calls))
        traffic = demand.traffic(count, rate_rps=rate_rps, cv=cv)
        stop_s = float(traffic.arrival_s[-1]) + SESSION_TAIL_S
        result = simulate(
            traffic,
            tier=self.tier,
            gpu=self.gpu,
            replicas=replicas,
            split=self.split,
            router=self.router,
            seed=seed,
            stop_s=stop_s,
            on_progress=self.reporter(replicas, rate_rps),
        )
        checks = tuple(
            check(
                slo,
                result,
                class_index=demand.class_of(result.origin),
                class_names=demand.class_names,
            )
            for slo in self.slos
        )
        grows = queue_grows(result)
        return Probe(replicas, rate_rps, cv, seed, _verdict(checks, grows), checks, grows, result)

    def reporter(self, replicas: int, rate_rps: float) -> Callable[[float, float], None]:
        """Says which probe this is, and how far it is whenever the simulation says so."""
        self._probes += 1
        text = f"probe {self._probes}: {replicas} x {self.tier.id} at {rate_rps:.3g} {self.unit}/s"
        self._on_progress(text)
        return lambda share, now_s: self._on_progress(f"{text}, {share:.0%}, {now_s:,.0f} s simulated")

    def replica_capacity(self, *, cv: float, near_rps: float | None = None) -> ReplicaCapacity:
        """The highest rate one replica passes at this burstiness, confirmed with other seeds.

        near_rps: where the search at another burstiness ended, to begin there instead of at the formula's
        guess.
        """
        start_rps = near_rps or self.first_guess_rps()
        lowest_rps = start_rps * LOWEST_SHARE
        hopeless = self._hopeless(lowest_rps, cv) if near_rps is None else None
        if hopeless is not None:
            return hopeless
        found = highest_passing(
            lambda rate_rps: self.probe(rate_rps, replicas=1, cv=cv).verdict is Verdict.PASS,
            start_rps=start_rps,
            known_rps=lowest_rps,
            tolerance=self._tolerance,
        )
        if near_rps is not None and found.passing_rps == lowest_rps:  # which was only taken to pass
            hopeless = self._hopeless(lowest_rps, cv)
            if hopeless is not None:
                return hopeless
        return ReplicaCapacity(self._confirmed(found.passing_rps, cv), found, cv, None)

    def _hopeless(self, lowest_rps: float, cv: float) -> ReplicaCapacity | None:
        """No capacity at all, where not even requests that hardly ever meet pass; else None."""
        alone = self.probe(lowest_rps, replicas=1, cv=cv)
        return None if alone.verdict is Verdict.PASS else ReplicaCapacity(0.0, None, cv, alone)

    def _confirmed(self, rate_rps: float, cv: float) -> float:
        """Steps down by the tolerance until the two other seeds don't fail either; after 6 steps what is left
        stands."""
        for _ in range(6):
            verdicts = [
                self.probe(rate_rps, replicas=1, cv=cv, seed=self.seed + 1 + k).verdict
                for k in range(CONFIRMING_SEEDS)
            ]
            if Verdict.FAIL not in verdicts:
                break
            rate_rps /= self._tolerance
        return rate_rps

    def first_guess_rps(self) -> float:
        """What a batch of an eighth of max_num_seqs would carry, by the step-time formula alone."""
        model = StepTimeModel(self.tier.shape, self.tier.serving, self.gpu)
        means = self.demand().means()
        prompt, output = means.prompt_tokens / means.calls, means.output_tokens / means.calls
        batch = max(1, self.tier.serving.max_num_seqs // 8)
        decode_s = output / (batch * model.tokens_per_s_per_user(batch, prompt + output / 2))
        fresh = prompt - means.repeated_tokens / means.calls
        return 1 / (decode_s + model.prefill_s(max(1, int(fresh))) / 4) / means.calls

    def fleet(self, rate_rps: float, *, replicas: int, cv: float, seed: int | None = None) -> Probe:
        """The fleet at the whole rate; or, where that takes too many requests or replicas, as many of these
        as can be simulated at their share of it (which is harder: a small fleet pools less)."""
        whole = self.requests_for(rate_rps) * self.demand().means().calls
        most = self._most_calls()
        simulated = replicas if whole <= most else max(1, int(replicas * most / whole))
        simulated = min(simulated, MAX_REPLICAS)
        return self.probe(rate_rps * simulated / replicas, replicas=simulated, cv=cv, seed=seed)

    def fewest_replicas(self, rate_rps: float, *, least: int, most: int, cv: float) -> tuple[int, bool]:
        """The smallest fleet from `least` up that passes with the headroom, and whether it was seen to.

        most: what one replica's capacity asks for, where a search by halves ends. A fleet that fails there
        grows by a replica, or 4 %, at a time; one with too few samples stays, and was not seen to pass.
        """
        replicas = fewest_passing(
            lambda count: self._with_headroom(rate_rps, replicas=count, cv=cv) is Verdict.PASS,
            least=least,
            most=most,
        )
        if replicas < most:
            return replicas, True
        for _ in range(MORE_FLEETS):
            verdict = self._with_headroom(rate_rps, replicas=replicas, cv=cv)
            if verdict is not Verdict.FAIL:
                return replicas, verdict is Verdict.PASS
            replicas += max(1, replicas // 25)
        return replicas, False

    def _with_headroom(self, rate_rps: float, *, replicas: int, cv: float) -> Verdict:
        """At rate / 0.8; a PASS that one of two more seeds fails is a FAIL."""
        verdict = Verdict.PASS
        for k in range(1 + CONFIRMING_SEEDS):
            found = self.fleet(rate_rps / LOAD_SHARE, replicas=replicas, cv=cv, seed=self.seed + k).verdict
            if found is Verdict.FAIL or k == 0:
                verdict = found
            if verdict is not Verdict.PASS:
                break
        return verdict


def replicas_for(rate_rps: float, capacity_rps: float) -> int:
    """ceil(rate / (0.8 capacity)), and a rate of exactly that much is not a replica more."""
    return max(1, ceil(rate_rps / (LOAD_SHARE * capacity_rps) - 1e-9))


def _verdict(checks: Sequence[Check], grows: bool) -> Verdict:
    verdicts = {c.verdict for c in checks}
    if grows or Verdict.FAIL in verdicts:
        return Verdict.FAIL
    return Verdict.INCONCLUSIVE if Verdict.INCONCLUSIVE in verdicts else Verdict.PASS


def _strain(c: Check) -> float:
    if np.isnan(c.observed):
        return 0.0
    if c.slo.at_most:
        return c.observed / c.limit
    return c.limit / c.observed if c.observed > 0 else float("inf")
