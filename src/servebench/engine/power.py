"""The electricity of a replica: its GPUs with their share of host, network and cooling.

    watts = G all_in (0.5 + 0.5 utilisation)

Idle GPUs draw half: an assumption; all_in already holds the site's overhead (PUE).
"""

from servebench.catalog.hardware import Gpu

IDLE_SHARE = 0.5


def power_watts(gpu: Gpu, gpus: int, utilisation: float) -> float:
    """utilisation: share of the time in which a step runs, 0 to 1."""
    return gpus * gpu.all_in_kw * 1000 * (IDLE_SHARE + (1 - IDLE_SHARE) * utilisation)
