"""Numbers on the command line that are numbers: click's own ranges let nan and inf through."""

from math import isfinite
from typing import Any

import click

SEED = click.IntRange(0, 2**63 - 1)  # a manifest holds no more


class FiniteRange(click.FloatRange):
    """A range of finite numbers. Fails as click's does."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if not isfinite(number):
            self.fail(f"{value!r} is no finite number.", param, ctx)
        return number
