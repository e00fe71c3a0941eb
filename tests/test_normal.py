"""The normal quantiles against scipy's, to the last digits, the far tails too."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtri

from servebench.normal import inverse_normal


@given(st.lists(st.floats(1e-300, 1 - 2**-53), min_size=1, max_size=20))
def test_they_are_scipys(u: list[float]) -> None:
    assert inverse_normal(np.array(u)) == pytest.approx(ndtri(u), rel=1e-13, abs=1e-13)


def test_the_ends_are_finite_and_in_order() -> None:
    z = inverse_normal(np.array([0.0, 1e-320, 1e-3, 0.5, 1 - 1e-3, 1.0]))
    assert np.isfinite(z).all()
    assert (np.diff(z) > 0).all()
    assert z[3] == 0
