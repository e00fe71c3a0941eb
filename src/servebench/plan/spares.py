"""What a fleet needs beyond the mean load: the day's peak, bursts, and replicas that are down (N + k).

    rate_peak = mean * diurnal peak * (1 + burst)
    k = smallest with P(at most k of R + k replicas are down) >= 0.999

Replicas fail independently, each down for 1 - availability of the time: a rack or a power feed that takes
several with it is a failure domain of its own, for which k counts domains.
"""

from scipy.special import bdtr

CONFIDENCE = 0.999
DIURNAL_PEAK = 1.6  # assumed: DeepSeek's disclosed day 1.23, ServeGen's clients 1.4 to 3.3
REPLICA_AVAILABILITY = 0.99  # of 8 GPUs and their host: assumed


def peak_rps(mean_rps: float, *, diurnal_peak: float, burst: float = 0.0) -> float:
    """Raises ValueError for a peak below the mean."""
    if diurnal_peak < 1 or burst < 0:
        raise ValueError(f"a peak is at least the mean and a burst at least 0, not {diurnal_peak}, {burst}")
    return mean_rps * diurnal_peak * (1 + burst)


def spare_replicas(replicas: int, *, availability: float, confidence: float = CONFIDENCE) -> int:
    """k, so that `replicas` are up with that probability. 0 for an availability of 1; ValueError at 0."""
    if not 0 < availability <= 1:
        raise ValueError(f"availability must lie in 0..1 and above 0, not {availability}")
    if replicas < 1 or availability == 1:
        return 0

    def enough(spares: int) -> bool:
        return bool(bdtr(spares, replicas + spares, 1 - availability) >= confidence)

    low, high = -1, 1
    while not enough(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
