"""A tier with one of its numbers set to another value: what a band's end means for what follows from it."""

from dataclasses import fields, replace
from typing import Any

from servebench.catalog.tiers import ModelShape, ServingProfile, Tier

SERVING_FIELDS = frozenset(field.name for field in fields(ServingProfile))
SHAPE_FIELDS = frozenset(field.name for field in fields(ModelShape))


def with_value(tier: Tier, name: str, value: float) -> Tier:
    """The tier with that field of its shape or serving profile changed.

    params_active takes P_ne and k with it: P_ne keeps its share of P_act, k = E (P_act - P_ne) / P_exp.
    Raises KeyError on a name that is neither's.
    """
    if name == "params_active":
        return replace(tier, shape=_with_active(tier.shape, value))
    change: dict[str, Any] = {name: value}
    if name in SERVING_FIELDS:
        return replace(tier, serving=replace(tier.serving, **change))
    if name in SHAPE_FIELDS:
        return replace(tier, shape=replace(tier.shape, **change))
    raise KeyError(name)


def _with_active(shape: ModelShape, active: float) -> ModelShape:
    if not shape.experts:
        return replace(shape, params_active=active)
    non_expert = shape.params_non_expert * active / shape.params_active
    routed = shape.experts * (active - non_expert) / (shape.params_total - non_expert)
    return replace(shape, params_active=active, params_non_expert=non_expert, experts_active=routed)
