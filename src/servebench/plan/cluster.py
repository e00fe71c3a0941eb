"""A tier on a published cluster: how wide a replica, how many of them, and whether GPUs or megawatts run
out first.

The cluster's GPUs are not the ones a tier is profiled on, so its simulated capacity is scaled by the closed
form: the same formulas at the cheapest width on the cluster's GPUs, over those at home.
"""

from dataclasses import dataclass

from servebench.catalog.hardware import Cluster, Gpu
from servebench.cost.energy import cluster_fit
from servebench.plan.capacity import LOAD_SHARE
from servebench.plan.economics import TierEconomics
from servebench.plan.fleet_size import fleet_for
from servebench.plan.slo_point import cheapest_placement, slo_point


@dataclass(frozen=True, slots=True)
class ClusterCase:
    """The whole cluster, all of one GPU kind, serving one tier. gpus_per_replica 0: no width meets the SLO
    there.

    served_rps: the mean load it carries, the day's peak and a fifth of headroom considered. demand_gpus and
    demand_share: what the asked demand takes of it; None without a demand.
    """

    cluster: Cluster
    gpu: Gpu
    gpus_per_replica: int
    replica_rps: float
    replicas: int
    served_rps: float
    served_tokens_per_s: float
    binds: str
    megawatts: float
    demand_gpus: int | None
    demand_megawatts: float | None
    demand_share: float | None


def cluster_case(row: TierEconomics, cluster: Cluster, gpu: Gpu, *, limit_s: float) -> ClusterCase:
    """limit_s: the TPOT limit of the objectives. What binds: "GPUs", "megawatts", or "SLO" where none
    serves.
    """
    fit = cluster_fit(cluster, gpu)
    home = slo_point(row.tier, row.gpu, row.lengths, limit_s=limit_s)
    place = cheapest_placement(row.tier, gpu, row.lengths, limit_s=limit_s)
    if home is None or place is None:
        return ClusterCase(cluster, gpu, 0, 0.0, 0, 0.0, 0.0, "SLO", fit.megawatts, None, None, None)
    replica_rps = row.capacity_rps * place.at.requests_per_s / home.requests_per_s
    replicas = fit.gpus // place.gpus
    served_rps = replicas * replica_rps * LOAD_SHARE / row.terms.diurnal_peak
    demand_gpus = megawatts = share = None
    if row.fleet is not None:
        needed = fleet_for(row.fleet.demand_rps, replica_rps, place.tier, gpu, row.terms)
        demand_gpus, megawatts = needed.gpus, needed.megawatts
        share = needed.gpus / fit.gpus
    return ClusterCase(
        cluster=cluster,
        gpu=gpu,
        gpus_per_replica=place.gpus,
        replica_rps=replica_rps,
        replicas=replicas,
        served_rps=served_rps,
        served_tokens_per_s=served_rps * row.tokens_per_s / row.capacity_rps,
        binds=fit.binds,
        megawatts=fit.megawatts,
        demand_gpus=demand_gpus,
        demand_megawatts=megawatts,
        demand_share=share,
    )
