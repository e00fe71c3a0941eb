"""The tiers and the public models as step-time models."""

import functools
from collections.abc import Sequence
from dataclasses import replace

from servebench.catalog.load import load_catalog
from servebench.catalog.model_file import load_models
from servebench.catalog.stack_constants import load_stack_constants
from servebench.engine.deployment import Backend, Deployment
from servebench.engine.roofline import roofline, stacked
from servebench.engine.step_costs import StepCosts, stack_efficiencies, step_costs
from servebench.engine.step_time import StepTimeModel

TIER_IDS = ("grok-4.3", "grok-5-small", "grok-5-mid", "grok-5-large", "grok-5-max")
CONSTANTS = load_stack_constants().all


@functools.cache
def model_of(tier_id: str, **serving: object) -> StepTimeModel:
    catalog = load_catalog()
    tier = catalog.tier(tier_id)
    profile = replace(tier.serving, **serving)  # type: ignore[arg-type]  # field names given by tests
    return StepTimeModel(tier.shape, profile, catalog.gpu(profile.gpu_id))


def deployments() -> list[Deployment]:
    """Every public model on two GPUs and stacks, narrow, wide and with data-parallel attention."""
    catalog = load_catalog()
    found = []
    for model in load_models().values():
        for gpu_id, backend, gemm in (("h200", Backend.SGLANG, "fp8"), ("b200", Backend.VLLM, "fp4")):
            widths: list[dict[str, int]] = [{"tp": 1}, {"tp": 8, "moe_ep": 8}, {"dp": 8, "moe_ep": 8}]
            found += [
                Deployment(
                    model=model, gpu=catalog.gpu(gpu_id), backend=backend, gemm=gemm, experts=gemm, **width
                )
                for width in widths
            ]
    return found


def costs_of(found: Sequence[Deployment]) -> StepCosts:
    peak = stacked([roofline(deployment) for deployment in found])
    return step_costs(peak, stack_efficiencies(peak, CONSTANTS))
