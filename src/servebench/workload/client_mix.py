"""ClientMix: traffic as the sum of clients, of which a few big ones carry the burst (ServeGen, arXiv
2505.09999: in the five categories whose clients are published the ten largest send 40-83 % of the requests;
CV of a client's gaps: median 1.2, p90 6.2).

Client k of n sends the share k^-z / sum of j^-z, z solved so that the first `top` send top_share; each is a
Gamma renewal process with a CV of its own. Independent bursts of many small clients even out, one big
client's do not: the total is burstier than a Poisson process, and less than its largest client.
"""

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from servebench.workload.arrivals import intended_starts
from servebench.workload.draws import uniforms
from servebench.workload.lengths import Distribution, Quantiles

_STEEPEST = 60.0  # z at which the first client has all but 2^-60
_CV_LEAST, _CV_MOST = 0.05, 100.0


def _served_gaps() -> Distribution:
    return Quantiles(dist="quantiles", at={"p50": 1.2, "p90": 6.2}, max=10)


class ClientMix(BaseModel):
    """count clients, the largest `top` of which send top_share; cv: distribution of the CV of their gaps."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    count: int = Field(gt=0, le=100_000)
    top: int = Field(default=10, gt=0)
    top_share: float = Field(default=0.65, gt=0, lt=1)
    cv: Distribution = Field(default_factory=_served_gaps)

    @model_validator(mode="after")
    def _possible(self) -> "ClientMix":
        if self.top >= self.count:
            raise ValueError(f"count must be > top {self.top}, got {self.count}")
        if self.top_share < self.top / self.count:
            raise ValueError(
                f"top_share must be >= top / count = {self.top / self.count:.3g}, got {self.top_share:g}"
            )
        return self

    def shares(self) -> NDArray[np.float64]:
        """Share of the rate of each client, largest first; sums to 1."""
        ranks = np.log(np.arange(1, self.count + 1, dtype=np.float64))

        def weights(z: float) -> NDArray[np.float64]:
            raw = np.exp(-z * ranks)
            shares: NDArray[np.float64] = raw / raw.sum()
            return shares

        if self.top_share == self.top / self.count:
            return weights(0.0)
        from scipy.optimize import brentq  # a tenth of a second to import, and few scenarios want it

        z = brentq(lambda z: float(weights(z)[: self.top].sum()) - self.top_share, 0.0, _STEEPEST)
        return weights(float(z))

    def gap_cvs(self, seed: int) -> NDArray[np.float64]:
        """CV of the gaps of each client."""
        drawn = self.cv.quantile(uniforms(seed, "client_cv", 0, self.count))
        return np.clip(drawn, _CV_LEAST, _CV_MOST)

    def starts(
        self, *, rate_rps: float, duration_s: float, seed: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Sorted int64 ns of all arrivals in [0, duration_s), and the client (0 = largest) of each."""
        parts = [
            intended_starts(
                "gamma",
                rate_rps=rate_rps * share,
                duration_s=duration_s,
                cv=cv,
                seed=seed,
                stream=f"client/{k}",
            )
            for k, (share, cv) in enumerate(
                zip(self.shares().tolist(), self.gap_cvs(seed).tolist(), strict=True)
            )
        ]
        starts = np.concatenate(parts)
        clients = np.repeat(np.arange(self.count), [len(part) for part in parts])
        order = np.argsort(starts, kind="stable")
        return starts[order], clients[order]
