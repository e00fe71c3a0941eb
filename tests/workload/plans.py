"""Plans for the tests, small and of every kind."""

from typing import Any

from servebench.workload.plan import WorkloadPlan
from servebench.workload.scenario import Scenario

CHAT: dict[str, Any] = {"name": "chat", "input_tokens": {"dist": "lognormal", "median": 700, "p95": 3000}}


def scenario(*classes: dict[str, Any], **fields: Any) -> Scenario:
    load = fields.pop("load", {"rate_rps": 20.0, "duration_s": 10.0})
    return Scenario.model_validate({"name": "s", "load": load, "classes": list(classes) or [CHAT], **fields})


def plan(
    *classes: dict[str, Any], scenario_fields: dict[str, Any] | None = None, **fields: Any
) -> WorkloadPlan:
    target = {"bytes_per_token": 4.0, "preamble_tokens": 192, "context_length_tokens": 1_000_000}
    return WorkloadPlan.model_validate(
        {"scenario": scenario(*classes, **(scenario_fields or {})), "seed": 1, **target, **fields}
    )
