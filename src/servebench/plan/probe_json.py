"""A probe as JSON: what became of each objective, and the latencies. +inf is "+Inf", what is undefined
null.
"""

from math import isfinite, isnan
from typing import Any

import numpy as np

from servebench.plan.capacity import Probe
from servebench.plan.objectives import Check, nearest_rank
from servebench.plan.simulated import SimulationResult


def probe_json(probe: Probe) -> dict[str, Any]:
    """Of one simulated run."""
    result = probe.result
    return {
        "replicas": probe.replicas,
        "rate_rps": probe.rate_rps,
        "verdict": str(probe.verdict),
        "checks": [_check_json(check) for check in probe.checks],
        **{
            name: {key: _number(value) for key, value in quantiles.items()}
            for name, quantiles in latency_summary(result).items()
        },
        "gpu_busy_share": result.gpu_busy_share,
        "peak_kv_usage": result.peak_kv_usage,
        "preemptions": result.preemptions,
        "requests": len(result.arrival_s),
    }


def latency_summary(result: SimulationResult) -> dict[str, dict[str, float | int | None]]:
    """p50, p95, p99 (nearest rank) and n of each latency after the warm-up; null where n is too small for a
    two-sided 95 % interval."""
    least_n = {"p50": 6, "p95": 72, "p99": 368}
    summary: dict[str, dict[str, float | int | None]] = {}
    for name in ("ttft_s", "tpot_s", "e2e_s"):
        values = getattr(result, name)[result.measured]
        values = values[~np.isnan(values)]
        summary[name] = {
            key: nearest_rank(values, int(key[1:]) / 100) if len(values) >= least else None
            for key, least in least_n.items()
        }
        summary[name]["n"] = len(values)
    return summary


def _check_json(check: Check) -> dict[str, Any]:
    return {
        "slo": check.slo.text,
        "verdict": str(check.verdict),
        "observed": _number(check.observed),
        "limit": check.limit,
        "n": check.n,
        "over": check.over,
    }


def _number(value: float | None) -> float | str | None:
    if value is None or isnan(value):
        return None
    return value if isfinite(value) else "+Inf"
