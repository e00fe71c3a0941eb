"""FleetPlan: the answer to "how many replicas, GPUs, dollars and megawatts for this rate within these
limits".

plan_fleet() decides; to_json() is the file that a CI job reads. Money is Decimal, as text in JSON.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from servebench.catalog.provenance import Kind
from servebench.cost.serving import usd_per_mtok
from servebench.engine.step_time import StepTimeModel
from servebench.plan.capacity import (
    LOAD_SHARE,
    Planner,
    Probe,
    ReplicaCapacity,
    replicas_for,
)
from servebench.plan.cross_check import CHAIN, ERLANG_C, Opinion, cross_checks
from servebench.plan.probe_json import probe_json
from servebench.plan.slo_point import Lengths
from servebench.plan.spares import peak_rps, spare_replicas
from servebench.results.gate import Verdict

HOURS_PER_MONTH = 730
NODE_GPUS = 8  # that fail together
_MORE_REPLICAS = 8  # attempts at a larger fleet where the first doesn't pass


@dataclass(frozen=True, slots=True)
class Load:
    """What a fleet is planned for: the mean rate, the day's peak over it, bursts beyond the peak, and the
    availability of 8 GPUs (1: nothing is kept for failures)."""

    mean_rps: float
    diurnal_peak: float = 1.0
    burst: float = 0.0
    availability: float = 1.0

    @property
    def peak_rps(self) -> float:
        return peak_rps(self.mean_rps, diurnal_peak=self.diurnal_peak, burst=self.burst)


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """working 0: no number of replicas is enough. fleet: the simulated run of the answer (None: there was
    none). spares: that may be down, besides.

    headroom: whether the fleet was simulated at rate / 0.8, and passed; else one replica's capacity says so.
    comparison: the replicas that Poisson arrivals (CV 1) would ask for, with their capacity; None where the
    plan itself is for CV 1. checks: other opinions on the capacity, where they can have one.
    """

    planner: Planner
    load: Load
    arrival_cv: float
    verdict: Verdict
    reason: str
    capacity: ReplicaCapacity
    working: int
    fleet: Probe | None
    comparison: tuple[int, float] | None
    spares: int = 0
    checks: tuple[Opinion, ...] = ()
    headroom: bool = False

    @property
    def rate_rps(self) -> float:
        """The peak that it is planned for."""
        return self.load.peak_rps

    @property
    def replicas(self) -> int:
        """To buy: working ones and spares."""
        return self.working + self.spares

    @property
    def gpus(self) -> int:
        return self.replicas * self.planner.gpus_per_replica

    @property
    def usd_per_h(self) -> Mapping[str, Decimal]:
        """By price basis: all GPUs, busy or not."""
        return {basis: self.gpus * usd for basis, usd in self.planner.gpu.usd_per_gpu_h.items()}

    @property
    def megawatts(self) -> float:
        """All-in peak: GPUs with their share of host, network and cooling."""
        return self.gpus * self.planner.gpu.all_in_kw / 1000

    @property
    def tokens_per_s(self) -> float:
        """Input (cached too) and output tokens at the mean rate."""
        return self.load.mean_rps * self.planner.demand().means().tokens

    @property
    def modelled(self) -> tuple[str, ...]:
        """Parameters of the tier that nobody has published: the speed is as uncertain as they are."""
        sources = self.planner.tier.sources
        return tuple(sorted(name for name, source in sources.items() if source.kind is Kind.MODELLED))

    def to_json(self) -> dict[str, Any]:
        planner = self.planner
        tier = planner.tier
        return {
            "schema": 1,
            "scenario": planner.scenario.name,
            "tier": tier.id,
            "rate_rps": self.rate_rps,
            "mean_rps": self.load.mean_rps,
            "diurnal_peak": self.load.diurnal_peak,
            "burst": self.load.burst,
            "availability_per_8_gpus": self.load.availability,
            "arrival_cv": self.arrival_cv,
            "seed": planner.seed,
            "slo": [slo.text for slo in planner.slos],
            "verdict": str(self.verdict),
            "reason": self.reason,
            "replicas": self.replicas or None,
            "spare_replicas": self.spares,
            "gpu": planner.gpu.id,
            "gpus": self.gpus or None,
            "gpus_per_replica": planner.gpus_per_replica,
            "router": planner.router,
            "disaggregate": None
            if planner.split is None
            else {"prefill": planner.split.prefill, "decode": planner.split.decode},
            "replica_capacity_rps": self.capacity.rps,
            "calls_per_arrival": planner.demand().means().calls,
            "cross_check": self._opinion(CHAIN),
            "cross_check_erlang_c": self._opinion(ERLANG_C),
            "load_share": LOAD_SHARE,
            "headroom_simulated": self.headroom,
            "usd_per_h": self._money(1),
            "usd_per_month": self._money(HOURS_PER_MONTH),
            "usd_per_million_tokens": self._usd_per_million_tokens(),
            "megawatts": self.megawatts if self.replicas else None,
            "cv_1": None
            if self.comparison is None
            else {"replicas": self.comparison[0] or None, "replica_capacity_rps": self.comparison[1]},
            "simulated": None if self.fleet is None else probe_json(self.fleet),
            "modelled": list(self.modelled),
        }

    def _opinion(self, name: str) -> dict[str, Any] | None:
        found = next((each for each in self.checks if each.name == name), None)
        if found is None:
            return None
        return {"calls_per_s": found.calls_per_s, "apart": found.apart, "agrees": found.agrees}

    def _money(self, hours: int) -> dict[str, str] | None:
        if not self.replicas:
            return None
        return {basis: format(usd * hours, "f") for basis, usd in self.usd_per_h.items()}

    def _usd_per_million_tokens(self) -> dict[str, str] | None:
        if not self.replicas:
            return None
        return {
            basis: format(usd_per_mtok(usd_per_h=usd, tokens_per_s=self.tokens_per_s), ".4f")
            for basis, usd in self.usd_per_h.items()
        }


def plan_fleet(
    planner: Planner, load: Load, *, arrival_cv: float = 2.0, max_gpus: int | None = None
) -> FleetPlan:
    """The smallest fleet that passes with the headroom, simulated at the peak itself for what users will see,
    and the replicas that may be down besides."""
    capacity, rate_rps = planner.replica_capacity(cv=arrival_cv), load.peak_rps
    if capacity.alone is not None:
        verdict, reason = _hopeless(planner, capacity.alone)
        return FleetPlan(planner, load, arrival_cv, verdict, reason, capacity, 0, capacity.alone, None)
    most = replicas_for(rate_rps, capacity.rps)
    least, comparison = most, None
    if arrival_cv != 1:
        poisson = planner.replica_capacity(cv=1.0, near_rps=capacity.rps)
        least = replicas_for(rate_rps, poisson.rps) if poisson.rps > 0 else most
        comparison = (least if poisson.rps > 0 else 0, poisson.rps)
    least, most = min(least, most), max(least, most)
    replicas, headroom = planner.fewest_replicas(rate_rps, least=least, most=most, cv=arrival_cv)
    fleet = planner.fleet(rate_rps, replicas=replicas, cv=arrival_cv)
    for _ in range(_MORE_REPLICAS):
        if fleet.verdict is not Verdict.FAIL:
            break
        replicas += max(1, replicas // 10)
        fleet = planner.fleet(rate_rps, replicas=replicas, cv=arrival_cv)
    up = load.availability ** max(1.0, planner.gpus_per_replica / NODE_GPUS)
    spares = spare_replicas(replicas, availability=up)
    verdict, reason = _decided(planner, fleet, replicas, spares, rate_rps, max_gpus)
    return FleetPlan(
        planner, load, arrival_cv, verdict, reason, capacity, replicas, fleet, comparison, spares,
        _opinions(planner, fleet, capacity, arrival_cv), headroom,
    )  # fmt: skip


def _opinions(
    planner: Planner, fleet: Probe, capacity: ReplicaCapacity, arrival_cv: float
) -> tuple[Opinion, ...]:
    """None for groups that prefill and decode apart, which the formulas do not know."""
    if planner.split is not None:
        return ()
    result = fleet.result
    rows = result.measured
    outputs = result.output_tokens[rows]
    lengths = Lengths(
        *(float(v[rows].mean()) for v in (result.prompt_tokens, result.output_tokens, result.cached_tokens))
    )
    return cross_checks(
        StepTimeModel(planner.tier.shape, planner.tier.serving, planner.gpu),
        lengths,
        planner.slos,
        arrival_cv=arrival_cv,
        output_cv=float(outputs.std() / outputs.mean()),
        simulated_rps=capacity.rps * planner.demand().means().calls,
    )


def _hopeless(planner: Planner, alone: Probe) -> tuple[Verdict, str]:
    if alone.verdict is Verdict.INCONCLUSIVE:
        return Verdict.INCONCLUSIVE, f"too few samples to decide even at the lowest load: {_worst(alone)}"
    return (
        Verdict.FAIL,
        f"no number of {planner.tier.id} replicas meets the SLO: even when requests hardly ever meet "
        f"({alone.rate_rps:.2g} a second on one replica), {_worst(alone)}",
    )


def _decided(
    planner: Planner, fleet: Probe, working: int, spares: int, rate_rps: float, max_gpus: int | None
) -> tuple[Verdict, str]:
    per_replica, replicas = planner.gpus_per_replica, working + spares
    gpus = replicas * per_replica
    if max_gpus is not None and gpus > max_gpus:
        held = max_gpus // per_replica
        return Verdict.FAIL, (
            f"{rate_rps:g} {planner.unit}/s need {count_of(replicas)} of {per_replica} GPUs, {gpus} in all: "
            f"{gpus - max_gpus} more than the {max_gpus} allowed, which hold {count_of(held)}"
        )
    beside = f" and {spares} spare" * (spares > 0)
    return fleet.verdict, f"{count_of(working)}{beside}, simulated at the rate: {_worst(fleet)}"


def count_of(replicas: int) -> str:
    return f"{replicas} replica{'s' * (replicas != 1)}"


def _worst(probe: Probe) -> str:
    growing = "the queue grows without end; " if probe.queue_grows else ""
    return growing + probe.worst.sentence
