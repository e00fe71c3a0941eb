"""A probe as JSON: what became of each objective, and the latencies. +inf is "+Inf", what is undefined
null.
"""

from math import isfinite, isnan
from typing import Any

from servebench.plan.capacity import Probe, latency_summary
from servebench.plan.objectives import Check


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
