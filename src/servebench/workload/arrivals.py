"""Arrival processes: one vector of intended starts, drawn once from one seeded generator, the same on every
worker.

    constant   start k at k / rate exactly
    poisson    gaps exponential with mean 1 / rate
    gamma      gaps Gamma of shape 1 / CV^2 and mean 1 / rate (vLLM's `burstiness` is the shape)

Renewal processes are begun in equilibrium: the first gap is a uniform share of a length-biased gap, U *
Gamma(shape + 1) (Cox, Renewal Theory, 1962, section 5), so that the mean count is rate * duration at any
CV, with no burst at 0. Gaps are rounded to whole ns before they are summed, so that sums are exact and
nothing drifts.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from servebench.errors import UsageError
from servebench.workload.draws import generator

Process = Literal["constant", "poisson", "gamma"]

MAX_ARRIVALS = 50_000_000  # 400 MB of starts: beyond it the vector would not fit beside a run
_NS = 1_000_000_000


def intended_starts(
    process: Process,
    *,
    rate_rps: float,
    duration_s: float,
    cv: float = 1.0,
    seed: int = 0,
    stream: str = "arrivals",
) -> NDArray[np.int64]:
    """Sorted int64 ns since T0 of all arrivals in [0, duration_s).

    cv counts for gamma only. Processes of different streams are independent. A longer duration with the same
    seed begins with the shorter one's arrivals. Raises UsageError where rate, duration or cv is not positive,
    or the arrivals are too many to hold.
    """
    for name, value in (("rate_rps", rate_rps), ("duration_s", duration_s), ("cv", cv)):
        if not 0 < value < float("inf"):
            raise UsageError(f"{name}: must be a number > 0, got {value:g}")
    if rate_rps * duration_s > MAX_ARRIVALS:
        raise UsageError(
            f"{rate_rps:g} requests/s for {duration_s:g} s are {rate_rps * duration_s:.3g} arrivals, "
            f"more than {MAX_ARRIVALS:,}: lower the rate or the duration"
        )
    end_ns = round(duration_s * _NS)
    if process == "constant":
        count = int(np.ceil(rate_rps * duration_s)) + 1
        starts: NDArray[np.int64] = np.rint(np.arange(count) * (_NS / rate_rps)).astype(np.int64)
        return starts[starts < end_ns]
    shape = 1.0 if process == "poisson" else cv**-2.0
    return _renewal(shape, rate_rps=rate_rps, end_ns=end_ns, rng=generator(seed, stream))


def _renewal(shape: float, *, rate_rps: float, end_ns: int, rng: np.random.Generator) -> NDArray[np.int64]:
    scale_ns = _NS / (rate_rps * shape)
    last_ns = int(np.rint(rng.uniform() * rng.standard_gamma(shape + 1.0) * scale_ns))
    parts = [np.array([last_ns], dtype=np.int64)]
    expected = rate_rps * end_ns / _NS
    chunk = int(expected + 6 * (expected / shape) ** 0.5) + 16  # six deviations: a second round is rare
    while last_ns < end_ns:
        gaps = np.rint(rng.standard_gamma(shape, size=chunk) * scale_ns).astype(np.int64)
        parts.append(last_ns + np.cumsum(gaps))
        last_ns = int(parts[-1][-1])
    starts: NDArray[np.int64] = np.concatenate(parts)
    return starts[starts < end_ns]
