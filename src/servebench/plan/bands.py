"""The band of a figure that follows from uncertain numbers: each banded number goes alone to both of its
ends, and the upward and the downward effects add in squares (of logarithms), as independent ones do.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, log, sqrt

from servebench.catalog.tiers import Tier
from servebench.catalog.variants import SERVING_FIELDS, SHAPE_FIELDS, with_value

_FOLLOWING = frozenset({"params_non_expert", "experts_active"})  # move with params_active


@dataclass(frozen=True, slots=True)
class Band:
    """Factors on the figure: low <= 1 <= high. low 0: at some end there is no such figure at all."""

    low: float
    high: float


def band(tier: Tier, measure: Callable[[Tier], float | None]) -> Band:
    """How far the figure goes with the tier's banded numbers. measure: None where there is no figure.

    Raises ValueError where there is none at the tier's own values.
    """
    middle = measure(tier)
    if middle is None or not middle > 0:
        raise ValueError(f"{tier.id}: no figure at its own values, so no band of it")
    up = down = 0.0
    missing = False
    for name in sorted((SERVING_FIELDS | SHAPE_FIELDS) - _FOLLOWING):
        source = tier.sources.get(name)
        changes = [0.0]
        for end in () if source is None else (source.low, source.high):
            value = None if end is None else measure(with_value(tier, name, end))
            if value is not None and value > 0:
                changes.append(log(value / middle))
            elif end is not None:
                missing = True
        up += max(changes) ** 2
        down += min(changes) ** 2
    return Band(0.0 if missing else exp(-sqrt(down)), exp(sqrt(up)))
