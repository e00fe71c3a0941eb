"""Whether the load was more than the target could carry: the queue grows for as long as the load lasts.

Over the last 30 s to 120 s of arrivals, requests in flight and TTFT must both rise with 95 % confidence, and
by a tenth of their mean or more. Least squares on the means of 20 equal pieces of that time; neighbours are
not independent (a queue has a memory), so the slope's error is widened by the residuals' lag-1 correlation r:
se sqrt((1 + r)/(1 - r)), with (1 - r)/(1 + r) of the degrees of freedom.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servebench.results.columns import Columns
from servebench.results.load_series import mean_in_flight
from servebench.results.steady_state import Window
from servebench.results.throughput import lag1_correlation, t_quantile

MIN_S, MAX_S = 30.0, 120.0
PIECES = 20
MIN_RISE = 0.1  # of the mean, over the whole time
CONFIDENCE = 0.95

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Slope:
    """per_s: the change a second; low_per_s: with 95 % confidence it is at least this. rise: over the whole
    time, relative to the mean.
    """

    per_s: float
    low_per_s: float
    rise: float

    @property
    def rising(self) -> bool:
        return self.low_per_s > 0 and self.rise >= MIN_RISE


@dataclass(frozen=True, slots=True)
class Saturation:
    """Over [start_s, end_s) since T0. ttft None: too few requests got a first token to tell."""

    start_s: float
    end_s: float
    in_flight: Slope
    ttft: Slope | None

    @property
    def saturated(self) -> bool:
        return self.in_flight.rising and (self.ttft is None or self.ttft.rising)


def saturation(columns: Columns, window: Window) -> Saturation | None:
    """None where the window is under MIN_S."""
    end_s = window.end_ns / 1e9
    start_s = max(end_s - MAX_S, window.start_ns / 1e9)
    if end_s - start_s < MIN_S - 1e-6:
        return None
    edges_s = np.linspace(start_s, end_s, PIECES + 1)
    at, ttft_s = columns.numbers, columns.latency_s("ttft")
    in_flight = mean_in_flight(at["sent_ns"] / 1e9, at["end_ns"] / 1e9, edges_s)
    told = np.isfinite(ttft_s)
    ttft = _piece_means(at["intended_ns"][told] / 1e9, ttft_s[told], edges_s)
    at_s = (edges_s[1:] + edges_s[:-1]) / 2
    enough = np.count_nonzero(~np.isnan(ttft)) >= PIECES // 2
    return Saturation(start_s, end_s, slope(at_s, in_flight), slope(at_s, ttft) if enough else None)


def slope(at_s: Floats, values: Floats) -> Slope:
    """Of at least three values; NaN is left out."""
    told = ~np.isnan(values)
    x, y = at_s[told], values[told]
    n, mean = len(x), float(y.mean())
    apart = x - x.mean()
    square = float((apart**2).sum())
    per_s = float((apart * y).sum()) / square
    residuals = y - mean - per_s * apart
    r = min(max(lag1_correlation(residuals), 0.0), 0.9)
    freedom = max((n - 2) * (1 - r) / (1 + r), 1.0)
    error = float(np.sqrt((residuals**2).sum() / (n - 2) / square * (1 + r) / (1 - r)))
    low = per_s - t_quantile(CONFIDENCE, freedom) * error
    rise = per_s * (at_s[-1] - at_s[0]) / mean if mean > 0 else 0.0
    return Slope(per_s, low, float(rise))


def _piece_means(at_s: Floats, values: Floats, edges_s: Floats) -> Floats:
    """The mean of the values in each piece; NaN where there is none."""
    counts, _ = np.histogram(at_s, edges_s)
    sums, _ = np.histogram(at_s, edges_s, weights=values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(counts > 0, sums / np.maximum(counts, 1), np.nan), dtype=np.float64)
