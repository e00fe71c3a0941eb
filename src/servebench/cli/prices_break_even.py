"""The break-even prices of `servebench prices`: what each tier must charge on each basis of a GPU hour."""

import datetime
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from servebench.catalog.load import Catalog
from servebench.catalog.prices import Rates, usd_per_million
from servebench.catalog.tiers import Tier
from servebench.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from servebench.plan.break_even import BreakEven

PROPORTIONS_OF = "grok-4.3"


def break_evens(catalog: Catalog, on: datetime.date) -> Iterator[tuple[Tier, dict[str, "BreakEven"]]]:
    """Each tier with its break-even prices by basis; nothing where Grok 4.3 has no price on that day, or the
    SLO can't be met."""
    from servebench.plan.break_even import break_even

    try:
        proportions = catalog.price(PROPORTIONS_OF, on).base
    except UsageError:
        return
    for tier in catalog.tiers.values():
        gpu = catalog.gpu(tier.serving.gpu_id)
        try:
            found = {
                basis: break_even(tier, gpu, proportions=proportions, basis=basis)
                for basis in gpu.usd_per_gpu_h
            }
        except ValueError:  # no batch within the limit
            continue
        yield tier, found


def break_even_json(catalog: Catalog, on: datetime.date) -> dict[str, Any]:
    """Ticks per token with their band, MODELLED; on which terms."""
    from servebench.plan.break_even import TPOT_LIMIT_S, UTILISATION

    return {
        "kind": "MODELLED",
        "time_sold": UTILISATION,
        "tpot_limit_s": TPOT_LIMIT_S,
        "tiers": {
            tier.id: {
                "gpu": tier.serving.gpu_id,
                "gpus_per_replica": tier.serving.gpus,
                "bases": {basis: _band_json(found) for basis, found in bases.items()},
            }
            for tier, bases in break_evens(catalog, on)
        },
    }


def _band_json(found: "BreakEven") -> dict[str, dict[str, int]]:
    return {
        f"ticks_per_token{suffix}": {
            "input": rates.input_ticks,
            "cached": rates.cached_ticks,
            "output": rates.output_ticks,
        }
        for suffix, rates in (("", found.base), ("_low", found.low), ("_high", found.high))
    }


def print_break_even(catalog: Catalog, on: datetime.date, out: "Console") -> None:
    """A row a tier: input and output price on each basis, the band of params_active under them."""
    from servebench.cli.tables import table
    from servebench.plan.break_even import UTILISATION

    rows = list(break_evens(catalog, on))
    if not rows:
        return
    bases = tuple(rows[0][1])
    title = "Break-even prices, MODELLED: USD per million tokens, in/out"
    shown = table(title, ("Tier", *bases), whole=bases)
    for tier, found in rows:
        gpu = catalog.gpu(tier.serving.gpu_id)
        shown.add_row(
            f"{tier.id}\n{tier.serving.gpus} x {gpu.name}", *(_cell(found[basis]) for basis in bases)
        )
    out.print(shown)
    out.print(
        "They cover GPU hours and nothing else: Azure's chat of 2023, the largest batch within 80 ms a "
        f"token, {UTILISATION:.0%} of the time sold, in Grok 4.3's proportions; in brackets params_active "
        "at 1 sigma. `servebench economics` has other traffic, and every other uncertainty.",
        style="dim",
    )


def _cell(found: "BreakEven") -> str:
    return f"{_pair(found.base)}\n({_pair(found.low)} -\n{_pair(found.high)})"


def _pair(rates: Rates) -> str:
    return f"{usd_per_million(rates.input_ticks):.3f}/{usd_per_million(rates.output_ticks):.3f}"
