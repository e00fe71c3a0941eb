"""How large a fleet a demand needs: the day's peak with a fifth kept free, and the replicas that may be
down.
"""

from dataclasses import dataclass
from decimal import Decimal
from math import ceil

from servebench.catalog.hardware import Gpu
from servebench.catalog.tiers import Tier
from servebench.plan.capacity import LOAD_SHARE
from servebench.plan.spares import DIURNAL_PEAK, REPLICA_AVAILABILITY, peak_rps, spare_replicas


@dataclass(frozen=True, slots=True)
class Terms:
    """What is assumed of the operator, the same for every tier."""

    basis: str  # of the GPU hour: hyperscaler, neocloud or rental
    diurnal_peak: float = DIURNAL_PEAK
    availability: float = REPLICA_AVAILABILITY
    arrival_cv: float = 2.0

    @property
    def time_sold(self) -> float:
        """u: mean load over capacity."""
        return LOAD_SHARE / self.diurnal_peak


@dataclass(frozen=True, slots=True)
class Fleet:
    """For the demand: replicas at the day's peak with headroom, spares among them, and what they draw."""

    demand_rps: float
    replicas: int
    spares: int
    gpus: int
    megawatts: float
    usd_per_h: Decimal


def fleet_for(demand_rps: float, capacity_rps: float, tier: Tier, gpu: Gpu, terms: Terms) -> Fleet:
    """Replicas for a mean load: the day's peak with a fifth kept free, and k that may be down."""
    peak = peak_rps(demand_rps, diurnal_peak=terms.diurnal_peak)
    working = max(1, ceil(peak / (LOAD_SHARE * capacity_rps) - 1e-9))
    spares = spare_replicas(working, availability=replica_availability(tier, terms.availability))
    gpus = (working + spares) * tier.serving.gpus
    usd_per_h = gpus * gpu.usd_per_gpu_h[terms.basis]
    return Fleet(demand_rps, working + spares, spares, gpus, gpus * gpu.all_in_kw / 1000, usd_per_h)


def replica_availability(tier: Tier, per_node: float) -> float:
    """A replica is down when any of its nodes of 8 GPUs is."""
    return float(per_node ** max(1.0, tier.serving.gpus / 8))
