"""Electric power and energy: kilowatts at the meter, kWh per million tokens, and what a cluster can feed.

    kWh/Mtok = kW / (tokens/s * 0.0036)

A Draw says whether the building's losses are inside already, so that a PUE is never applied twice.
"""

from dataclasses import dataclass

from servebench.catalog.hardware import Cluster, Gpu

KWH_PER_MTOK_H = 0.0036  # Mtok an hour of one token per second
IDLE_SHARE = 0.5  # of the all-in power that an idle GPU is taken to draw: an assumption


@dataclass(frozen=True, slots=True)
class Draw:
    """Kilowatts. all_in: measured or stated at the meter, cooling and losses inside; else IT power alone."""

    kw: float
    all_in: bool

    def __post_init__(self) -> None:
        if not 0 <= self.kw < float("inf"):
            raise ValueError(f"a power is at least 0 kW, not {self.kw}")

    def at_meter_kw(self, pue: float) -> float:
        """IT power times the PUE; all-in power as it stands. Raises ValueError for a PUE below 1."""
        if not pue >= 1:
            raise ValueError(f"a PUE is at least 1, not {pue}")
        return self.kw if self.all_in else self.kw * pue


def gpu_draw(gpu: Gpu, *, utilisation: float = 1.0) -> Draw:
    """One GPU with its share of host, network and cooling, busy for that share of time."""
    return Draw(mean_kw(all_in_kw=gpu.all_in_kw, utilisation=utilisation), all_in=True)


def mean_kw(*, all_in_kw: float, utilisation: float) -> float:
    """all-in kW x (0.5 + 0.5 u): an idle GPU is taken to draw half (an assumption)."""
    if not 0 <= utilisation <= 1:
        raise ValueError(f"utilisation must lie in 0..1, not {utilisation}")
    return all_in_kw * (IDLE_SHARE + (1 - IDLE_SHARE) * utilisation)


def kwh_per_mtok(draw: Draw, *, tokens_per_s: float, pue: float = 1.0) -> float:
    """Of one GPU or of a replica, whose draw and speed go together. Raises ValueError out of range."""
    if not 0 < tokens_per_s < float("inf"):
        raise ValueError(f"tokens_per_s must be above 0, not {tokens_per_s}")
    return draw.at_meter_kw(pue) / (tokens_per_s * KWH_PER_MTOK_H)


@dataclass(frozen=True, slots=True)
class ClusterFit:
    """How many GPUs of one kind a cluster can hold and feed at full power; binds: "GPUs" or "megawatts".

    megawatts: what they draw then, at the meter.
    """

    gpus: int
    binds: str
    megawatts: float


def cluster_fit(cluster: Cluster, gpu: Gpu) -> ClusterFit:
    """The smaller of what is installed and what the peak power feeds, all of this kind."""
    kw = gpu_draw(gpu).at_meter_kw(cluster.pue)
    fed = int(cluster.megawatts * 1000 / kw + 1e-9)
    held = min(cluster.gpus, fed)
    return ClusterFit(held, "GPUs" if cluster.gpus <= fed else "megawatts", held * kw / 1000)
