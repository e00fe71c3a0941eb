"""The verdict on an objective: PASS, FAIL or INCONCLUSIVE, by an exact binomial test at c = 0.99.

MLPerf's early stopping: with t units over the limit and h under it, PASS when n = h + t is so large that a
target with exactly the allowed share over would show t or fewer with probability 1 - c at most. FAIL by the
mirrored bound: t or more. In between the sample can't tell, and more of it is needed. Where neighbours fail
together the sample is worth less: n and t are scaled by 1/(1 + 2 sum rho_k) of the over-limit indicator
(Geyer's truncation).
"""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from servebench.results.slo import Slo

CONFIDENCE = 0.99


class Verdict(StrEnum):
    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True, slots=True)
class GateResult:
    """One objective judged. n units, `over` of them bad; n_effective after scaling; share = good / n.

    value: the percentile, share or rate that was asked about, None where undefined. needed_n: the sample that
    would pass with as many over as now; None where the share is too bad, or the objective is a rate.
    """

    slo: Slo
    verdict: Verdict
    n: int
    over: int
    n_effective: float
    share: float | None
    value: float | None
    needed_n: int | None

    @property
    def reason(self) -> str:
        """What was counted, in one line."""
        if self.slo.is_rate:
            return f"{self.n - self.over} of {self.n} offered requests were good"
        unit = "chunk gaps" if self.slo.metric == "itl" else "requests"
        text = f"{self.over} of {self.n} {unit} over the limit"
        if self.slo.metric in ("error_rate", "goodput"):
            what = "failed" if self.slo.metric == "error_rate" else "were not good"
            text = f"{self.over} of {self.n} requests {what}"
        if self.n_effective < 0.95 * self.n:
            text += f", worth {self.n_effective:.0f} independent ones"
        if (
            self.verdict is Verdict.INCONCLUSIVE
            and self.needed_n is not None
            and self.needed_n > self.n_effective
        ):
            text += f"; with {self.over} over, {self.needed_n} are needed to pass"
        return text


def passes(over: int, n: int, share: float) -> bool:
    """Whether n units with `over` bad prove that a share of good ones is reached."""
    from scipy.special import bdtr

    return n > 0 and over < n and bool(bdtr(over, n, 1 - share) <= 1 - CONFIDENCE)


def fails(over: int, n: int, share: float) -> bool:
    """Whether they prove that it is not."""
    from scipy.special import bdtrc

    return over > 0 and bool(bdtrc(over - 1, n, 1 - share) <= 1 - CONFIDENCE)


def minimum_n(over: int, share: float) -> int:
    """The smallest n that passes with `over` bad units: h_min(t) + t."""
    low, high = over, max(2 * over, 2)
    while not passes(over, high, share):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if passes(over, middle, share):
            high = middle
        else:
            low = middle
    return high


def correlation_time(bad: NDArray[np.bool_]) -> float:
    """1 + 2 sum rho_k of an indicator in time order, 1 or more; Geyer's initial positive sequence."""
    n = len(bad)
    if n < 4 or bad.all() or not bad.any():
        return 1.0
    centred = bad - bad.mean()
    size = 1 << (2 * n - 1).bit_length()
    spectrum = np.fft.rfft(centred, size)
    spectrum *= spectrum.conj()  # in place: of the gaps of a long run these are 64 MB
    covariance = np.fft.irfft(spectrum, size)[:n]
    rho = covariance / covariance[0]
    pairs = rho[: n // 2 * 2].reshape(-1, 2).sum(axis=1)
    negative = np.flatnonzero(pairs <= 0)
    until = int(negative[0]) if len(negative) else len(pairs)
    time = float(2 * pairs[:until].sum() - 1)
    # an excess within its own noise (Sokal: standard error tau sqrt(2 (2M + 1)/n)) is no correlation
    return time if time - 1 > 2 * math.sqrt(2 * (4 * until + 1) / n) else 1.0


def judge(slo: Slo, good: NDArray[np.bool_], *, value: float | None, window_s: float) -> GateResult:
    """The verdict. good: whether each unit of the objective's sample is good, in time order."""
    n, over = len(good), int(np.count_nonzero(~good))
    share = (n - over) / n if n else None
    if slo.required_share is None:
        rate_verdict = _judge_rate(n - over, window_s, slo.limit)
        return GateResult(slo, rate_verdict, n, over, float(n), share, value, None)
    needed = slo.required_share
    scale = correlation_time(~good)
    n_effective = n / scale
    # rounded against the verdict, each way
    if passes(math.ceil(over / scale), math.floor(n_effective), needed):
        verdict = Verdict.PASS
    elif fails(math.floor(over / scale), math.ceil(n_effective), needed):
        verdict = Verdict.FAIL
    else:
        verdict = Verdict.INCONCLUSIVE
    hopeless = share is not None and share <= needed and over > 0
    needed_n = None if hopeless else minimum_n(math.ceil(over / scale), needed)
    return GateResult(slo, verdict, n, over, n_effective, share, value, needed_n)


def overall(results: "list[GateResult] | tuple[GateResult, ...]") -> Verdict | None:
    """FAIL if any fails, else INCONCLUSIVE if any is, else PASS; None without objectives."""
    verdicts = {result.verdict for result in results}
    for verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS):
        if verdict in verdicts:
            return verdict
    return None


def _judge_rate(good: int, window_s: float, limit_rps: float) -> Verdict:
    """By the exact Poisson bounds (Garwood) on the count of good requests."""
    from scipy.special import gammainccinv, gammaincinv

    if window_s <= 0:
        return Verdict.INCONCLUSIVE
    tail = 1 - CONFIDENCE
    low = float(gammaincinv(good, tail)) if good else 0.0
    high = float(gammainccinv(good + 1, tail))
    if low / window_s >= limit_rps:
        return Verdict.PASS
    return Verdict.FAIL if high / window_s < limit_rps else Verdict.INCONCLUSIVE
