"""What keeps a replica from carrying more: its memory, its GPUs' time, or an objective by itself."""

import numpy as np

from servebench.plan.capacity import Planner, Probe

FULL = 0.98  # of the KV memory: then it is what binds


def what_binds(planner: Planner, failing_rps: float | None, cv: float) -> str:
    """What fails first past a replica's capacity: memory, the GPUs' time, or an objective by itself."""
    if failing_rps is None:
        return "nothing found"
    probe = planner.probe(failing_rps, replicas=1, cv=cv)
    if probe.verdict == "PASS":  # a probe with another seed failed
        probe = planner.probe(failing_rps * 1.1, replicas=1, cv=cv)
    return binding(probe)


def binding(probe: Probe) -> str:
    """memory where the KV cache is full; GPU where requests wait for a place in the batch; else the SLO."""
    result = probe.result
    if result.preemptions or result.peak_kv_usage > FULL:
        return "memory"
    waits_s = result.wait_s[result.measured]
    waiting = float(np.quantile(waits_s, 0.99)) if len(waits_s) else 0.0
    if probe.queue_grows or (
        probe.worst.slo.metric in ("ttft", "service_ttft") and waiting > probe.worst.limit / 2
    ):
        return "GPU"
    return f"SLO {probe.worst.slo.metric}"
