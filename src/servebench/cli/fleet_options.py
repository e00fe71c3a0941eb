"""The options of `servebench plan` and `servebench economics` that are about the operator and the run."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from servebench.cli.finite import SEED, FiniteRange

F = TypeVar("F", bound=Callable[..., Any])


def peak_option(default: float) -> Callable[[F], F]:
    return click.option(
        "--peak",
        "diurnal_peak",
        type=FiniteRange(min=1, max=10),
        default=default,
        show_default=True,
        help="The day's peak over the mean rate (disclosed: DeepSeek 1.23; ServeGen's clients 1.4 to 3.3).",
    )


def availability_option(default: float) -> Callable[[F], F]:
    return click.option(
        "--availability",
        type=FiniteRange(min=0.5, max=1),
        default=default,
        show_default=True,
        help="Of 8 GPUs and their host, as 0.99: adds replicas that may be down. 1: none.",
    )


def basis_option(help_text: str) -> Callable[[F], F]:
    return click.option(
        "--basis",
        type=click.Choice(("hyperscaler", "neocloud", "rental")),
        default="hyperscaler",
        show_default=True,
        help=help_text,
    )


seed_option = click.option(
    "--seed",
    type=SEED,
    default=1,
    show_default=True,
    help="The same seed gives the same answer.",
)
