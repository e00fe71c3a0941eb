"""What serving costs: dollars per million tokens, break-even use, break-even price, margin.

Tokens are input (cached too) + output, everywhere. 0.0036 = 3600 s/h / 10^6 tokens/Mtok. Money is Decimal;
speeds and shares are floats, taken at their printed value.
"""

from decimal import ROUND_CEILING, Decimal

from servebench.catalog.prices import TICKS_PER_USD, Rates
from servebench.cost.blend import Mix, blend_ticks, exact

MTOK_PER_H = Decimal("0.0036")  # of one token per second
# price bases of a GPU hour: owned at hyperscale, owned by a neocloud, rented for three years
BASES = ("hyperscaler", "neocloud", "rental")


def usd_per_mtok(*, usd_per_h: Decimal, tokens_per_s: float, utilisation: float = 1.0) -> Decimal:
    """Cost of a million tokens on hardware that does tokens_per_s while busy, busy for that share of time."""
    _positive(tokens_per_s=tokens_per_s)
    _share(utilisation)
    return usd_per_h / (exact(tokens_per_s) * exact(utilisation) * MTOK_PER_H)


def break_even_utilisation(
    *, usd_per_gpu_h: Decimal, blend_usd_per_mtok: Decimal, tokens_per_s_per_gpu: float
) -> Decimal:
    """u* = $/GPU-h / (blend * tokens/s/GPU * 0.0036): above it a GPU earns its hour; over 1 it never does."""
    _positive(blend_usd_per_mtok=blend_usd_per_mtok, tokens_per_s_per_gpu=tokens_per_s_per_gpu)
    return usd_per_gpu_h / (blend_usd_per_mtok * exact(tokens_per_s_per_gpu) * MTOK_PER_H)


def break_even_rates(
    *, usd_per_h: Decimal, utilisation: float, tokens_per_s: float, mix: Mix, proportions: Rates
) -> Rates:
    """The rates, in the given proportions to each other, at which the mix pays for a replica's hour.

    usd_per_h: the whole replica. tokens_per_s: its input + output at the SLO point, while busy. Each rate is
    rounded up to a whole tick, so revenue is never below cost, and above it by less than one tick per token.
    Raises ValueError where a speed or share is out of range, or the proportions earn nothing on this mix.
    """
    cost_ticks = usd_per_mtok(usd_per_h=usd_per_h, tokens_per_s=tokens_per_s, utilisation=utilisation)
    cost_ticks = cost_ticks * TICKS_PER_USD / 1_000_000
    unit = blend_ticks(proportions, mix)
    if unit <= 0:
        raise ValueError("the proportions earn nothing on this mix: no factor reaches the cost")
    factor = cost_ticks / unit
    return Rates(
        input_ticks=_ceil(factor * proportions.input_ticks),
        cached_ticks=_ceil(factor * proportions.cached_ticks),
        output_ticks=_ceil(factor * proportions.output_ticks),
    )


def margin(*, cost: Decimal, price: Decimal) -> Decimal:
    """1 - C/P, negative below break-even."""
    if price <= 0:
        raise ValueError(f"a margin needs a price above 0, not {price}")
    return 1 - cost / price


def _ceil(value: Decimal) -> int:
    # one part in 10^20 of slack: a product that should be whole must not round up for the 28th digit
    return int((value * (1 - Decimal("1e-20"))).to_integral_value(rounding=ROUND_CEILING))


def _positive(**values: float | Decimal) -> None:
    for name, value in values.items():
        if not (value > 0 and float(value) != float("inf")):
            raise ValueError(f"{name} must be above 0, not {value}")


def _share(utilisation: float) -> None:
    if not 0 < utilisation <= 1:
        raise ValueError(f"utilisation must lie in 0..1 and above 0, not {utilisation}")
