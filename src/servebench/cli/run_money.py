"""The options of `servebench run` that are about money and the real API."""

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


class Dollars(click.ParamType[Decimal]):
    """An exact amount above 0, to the tick of 10^-10 USD."""

    name = "USD"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Decimal:
        try:
            amount = value if isinstance(value, Decimal) else Decimal(str(value).removeprefix("$"))
        except InvalidOperation:
            self.fail(f"{value!r} is no amount in USD, as 5 or 0.25", param, ctx)
        if not amount.is_finite() or amount <= 0:
            self.fail(f"{value!r}: a budget is above 0", param, ctx)
        if amount > 10**8 or amount != amount.quantize(Decimal("1e-10")):
            self.fail(f"{value!r}: a budget is at most 100,000,000 and a multiple of 10^-10 USD", param, ctx)
        return amount


_OPTIONS = (
    click.option(
        "--max-cost",
        "max_cost_usd",
        type=Dollars(),
        help="Hard budget: a request reserves its bound before it is sent; the run ends (6) when none fits.",
    ),
    click.option(
        "--max-reasoning-tokens",
        type=click.IntRange(min=0),
        metavar="N",
        help="Reasoning a request is taken not to pass, for its bound (default: the tier's, assumed).",
    ),
    click.option(
        "--price-sheet",
        metavar="FILE|MODEL",
        help="Price of the requests: a YAML file, a model of the catalog, or PROVIDER/MODEL of genai-prices.",
    ),
    click.option(
        "--refresh-prices",
        is_flag=True,
        help="Bill by the prices in the target's /v1/models, and say where the catalog differs.",
    ),
    click.option("--yes", is_flag=True, help="Start a run that costs money without asking."),
    click.option(
        "--api",
        type=click.Choice(["chat", "responses"]),
        default="chat",
        show_default=True,
        help="Endpoint: chat completions or responses.",
    ),
    click.option(
        "--retries",
        type=click.IntRange(0, 20),
        default=0,
        show_default=True,
        help="How often a request that brought no token (429, 5xx, no connection) is sent again.",
    ),
    click.option(
        "--on-429",
        "on_429",
        type=click.Choice(["respect", "fail", "drop"]),
        default="respect",
        show_default=True,
        help="respect: pause for Retry-After, then go on; drop: pause, and shed what falls due meanwhile; "
        "fail: go on, each 429 is a failure.",
    ),
    click.option(
        "--warm-connections",
        type=click.IntRange(0, 10_000),
        default=0,
        show_default=True,
        metavar="N",
        help="Connections to open before the load, each by one free GET /v1/models.",
    ),
    click.option(
        "--ca-file",
        type=click.Path(exists=True, dir_okay=False),
        help="PEM of the authority that signs an https target of your own (default: the system's).",
    ),
)


def money_options(function: F) -> F:
    for option in reversed(_OPTIONS):
        function = option(function)
    return function
