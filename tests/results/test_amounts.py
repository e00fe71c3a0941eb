"""Amounts read all at once are the exact decimals."""

from decimal import Decimal, InvalidOperation, localcontext

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from servebench.results.amounts import ticks_of

PLAIN = st.from_regex(r"\A[0-9]{1,8}(\.[0-9]{0,10})?\Z")
ANY = st.from_regex(r"\A-?[0-9]{1,8}(\.[0-9]{1,40})?\Z") | st.sampled_from(["1e-5", "1E2", ".5", "+1", "٣.5"])


@example(["10.000000000000000000000000001"])
@given(st.lists(st.none() | PLAIN | ANY, max_size=30))
def test_whole_ticks_and_what_is_below_one(amounts: list[str | None]) -> None:
    ticks, below = ticks_of(amounts)
    assert len(ticks) == len(amounts)
    for position, (text, found) in enumerate(zip(amounts, ticks.tolist(), strict=True)):
        with localcontext(prec=60):  # the default's 28 digits would round what is to be told here
            exact = Decimal(text or 0).scaleb(10)
            assert found == int(exact)
            assert below.get(position, 0) == exact - int(exact)
    assert 0 not in below.values()


def test_more_than_63_bits_or_no_number_is_no_amount() -> None:
    with pytest.raises(OverflowError):
        ticks_of(["0.1", "9" * 12])
    for text in ("", ".", "1.2.3", "1 2", "0x1"):
        with pytest.raises(InvalidOperation):
            ticks_of(["0.1", text])
