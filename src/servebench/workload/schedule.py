"""The schedule of an open loop: the arrivals of a load, whatever its process and the shape of its rate."""

import numpy as np
from numpy.typing import NDArray

from servebench.errors import UsageError
from servebench.workload.arrivals import MAX_ARRIVALS, intended_starts
from servebench.workload.load import Load
from servebench.workload.rate_curve import RateCurve

_NS = 1_000_000_000


def load_starts(load: Load, *, rate_rps: float, duration_s: float, seed: int) -> NDArray[np.int64]:
    """Sorted int64 ns since T0 of all arrivals in [0, duration_s); rate_rps in place of the load's.

    A longer duration with the same seed begins with the shorter one's arrivals. Raises UsageError where the
    arrivals are too many to hold.
    """
    if load.shape is None:
        return _stationary(load, rate_rps=rate_rps, duration_s=duration_s, seed=seed)
    curve = load.shape.curve(duration_s)
    steady_s = curve.area_s(duration_s)  # the shape maps this much time at rate_rps onto the run
    if steady_s == 0:
        raise UsageError(f"load.shape: the rate is 0 for all of the {duration_s:g} s")
    starts = _stationary(load, rate_rps=rate_rps, duration_s=steady_s, seed=seed)
    return _moved(starts, curve, duration_s=duration_s)


def _stationary(load: Load, *, rate_rps: float, duration_s: float, seed: int) -> NDArray[np.int64]:
    process = load.process or "poisson"
    if rate_rps * duration_s > MAX_ARRIVALS:
        raise UsageError(
            f"{rate_rps:g} requests/s for {duration_s:g} s are {rate_rps * duration_s:.3g} arrivals, "
            f"more than {MAX_ARRIVALS:,}: lower the rate or the duration"
        )
    if process == "clients":
        assert load.clients is not None
        return load.clients.starts(rate_rps=rate_rps, duration_s=duration_s, seed=seed)[0]
    if process == "mmpp":
        assert load.bursts is not None
        curve = load.bursts.curve(duration_s, seed=seed)
        steady_s = curve.area_s(duration_s)
        steady = intended_starts("poisson", rate_rps=rate_rps, duration_s=steady_s, seed=seed)
        return _moved(steady, curve, duration_s=duration_s)
    return intended_starts(process, rate_rps=rate_rps, duration_s=duration_s, cv=load.cv or 1.0, seed=seed)


def _moved(starts: NDArray[np.int64], curve: RateCurve, *, duration_s: float) -> NDArray[np.int64]:
    moved_ns = np.rint(curve.times_s(starts / _NS) * _NS)
    end_ns = round(duration_s * _NS)
    return moved_ns[moved_ns < end_ns].astype(np.int64)
