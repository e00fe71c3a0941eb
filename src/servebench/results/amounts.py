"""Amounts of money as text, in ticks: a hundred thousand of them at once."""

from collections.abc import Sequence
from decimal import Decimal, localcontext

import numpy as np
from numpy.typing import NDArray

from servebench.catalog.prices import TICKS_PER_USD

_DECIMALS = 10  # of a tick
_MOST_WHOLE = 8  # digits before the point, so that the ticks fit 63 bits
_POWERS = np.array([10**n for n in range(_DECIMALS + 1)], dtype=np.int64)


def ticks_of(amounts: Sequence[str | None]) -> tuple[NDArray[np.int64], dict[int, Decimal]]:
    """Whole ticks of each amount in dollars, None as 0; and by position what is below a tick."""
    ticks, plain = _plain_ticks(["0" if text is None else text for text in amounts])
    below: dict[int, Decimal] = {}
    for position in np.flatnonzero(~plain).tolist():
        ticks[position], rest = exact_ticks(amounts[position] or "")
        if rest:
            below[position] = rest
    return ticks, below


def exact_ticks(usd: str) -> tuple[int, Decimal]:
    """Whole ticks of one amount, and what is below one. Raises decimal.InvalidOperation: it is no number."""
    with localcontext(prec=60):
        exact = Decimal(usd) * TICKS_PER_USD
        return int(exact), exact - int(exact)


def _plain_ticks(texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Ticks of plain decimals (digits, at most one point, no part of a tick), and which texts are such."""
    table = np.array([text.encode("ascii", "replace") for text in texts], dtype=np.bytes_)
    digits, decimals = np.zeros((2, len(texts)), dtype=np.int64)
    number = np.zeros(len(texts), dtype=np.int64)
    pointed, plain = np.zeros(len(texts), dtype=bool), np.ones(len(texts), dtype=bool)
    for column in table.view(np.uint8).reshape(len(texts), table.itemsize).T:
        digit = column - np.uint8(ord("0"))  # what stands before "0" becomes large
        is_digit, is_point = digit < 10, column == ord(".")
        number = np.where(is_digit, 10 * number + digit, number)
        digits += is_digit
        decimals += is_digit & pointed
        plain &= is_digit | (column == 0) | (is_point & ~pointed)
        pointed |= is_point
    plain &= (digits > 0) & (decimals <= _DECIMALS) & (digits - decimals <= _MOST_WHOLE)
    return number * _POWERS[np.maximum(_DECIMALS - decimals, 0)], plain
