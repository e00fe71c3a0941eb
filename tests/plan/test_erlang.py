"""Erlang C: known values, M/M/1, laws of a queue; Allen and Cunneen against M/M/c and a simulated GI/G/c."""

from heapq import heapify, heapreplace
from math import exp, factorial, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servebench.plan.erlang import erlang_c, wait_quantile_s


@pytest.mark.parametrize(
    ("servers", "load", "share"),
    # rational by hand: C(2, 1) = 1/3, C(3, 2) = 4/9, C(2, 1.5) = 9/14, C(5, 4) = 256/462
    [(2, 1.0, 1 / 3), (3, 2.0, 4 / 9), (2, 1.5, 9 / 14), (5, 4.0, 256 / 462), (10, 0.0, 0.0), (4, 4.0, 1.0)],
)
def test_known_values(servers: int, load: float, share: float) -> None:
    assert erlang_c(servers, load) == pytest.approx(share, rel=1e-9)


@given(load=st.floats(0.01, 0.99))
def test_one_server_is_m_m_1(load: float) -> None:
    assert erlang_c(1, load) == pytest.approx(load)
    p99_s = wait_quantile_s(0.99, servers=1, rate_rps=load, service_s=1, arrival_cv=1, service_cv=1)
    # P(W > t) = rho exp(-(1 - rho) t)
    assert p99_s == pytest.approx(max(0.0, log(load / 0.01) / (1 - load)))


@given(servers=st.integers(1, 40), share=st.floats(0.01, 0.98))
def test_it_is_the_sum_that_defines_it(servers: int, share: float) -> None:
    load = servers * share
    last = load**servers / factorial(servers) / (1 - share)
    below = sum(load**k / factorial(k) for k in range(servers))
    assert erlang_c(servers, load) == pytest.approx(last / (below + last), rel=1e-9)


@given(servers=st.integers(1, 300), share=st.floats(0.05, 0.95), more=st.floats(1.001, 1.04))
def test_more_load_waits_more_and_one_large_queue_waits_less(servers: int, share: float, more: float) -> None:
    load = servers * share
    assert 0 <= erlang_c(servers, load) <= erlang_c(servers, load * more) <= 1
    assert erlang_c(2 * servers, 2 * load) <= erlang_c(servers, load)


@given(
    servers=st.integers(1, 50), share=st.floats(0.5, 0.99), arrival_cv=st.floats(0.5, 4),
    service_cv=st.floats(0, 3), quantile=st.floats(0.5, 0.999),
)  # fmt: skip
def test_waits_grow_with_the_spread_and_the_quantile(
    servers: int, share: float, arrival_cv: float, service_cv: float, quantile: float
) -> None:
    def wait_s(q: float, ca: float, cs: float) -> float:
        return wait_quantile_s(
            q, servers=servers, rate_rps=servers * share / 2, service_s=2, arrival_cv=ca, service_cv=cs
        )

    base_s = wait_s(quantile, arrival_cv, service_cv)
    assert 0 <= base_s <= wait_s(quantile, 1.5 * arrival_cv, service_cv)
    assert base_s <= wait_s(quantile, arrival_cv, service_cv + 0.5)
    assert base_s <= wait_s(quantile + (1 - quantile) / 2, arrival_cv, service_cv)
    # of the wait of those that wait, the mean is Allen and Cunneen's
    if base_s > 0:
        waiting = erlang_c(servers, servers * share)
        mean_s = waiting * 2 / (servers * (1 - share)) * (arrival_cv**2 + service_cv**2) / 2
        assert waiting * exp(-base_s * waiting / mean_s) == pytest.approx(1 - quantile)


@pytest.mark.parametrize(("arrival_cv", "service_cv"), [(1.0, 1.0), (2.0, 1.0), (1.0, 0.0)])
def test_near_a_simulated_queue_under_load(arrival_cv: float, service_cv: float) -> None:
    """Eight servers at a load of 0.9: an approximation, so within a quarter of the p99 wait."""
    draws, count, servers, rate_rps = np.random.default_rng(7), 300_000, 8, 0.9 * 8
    shape = arrival_cv**-2
    arrivals_s = np.cumsum(draws.gamma(shape, 1 / shape, count)) / rate_rps
    services_s = draws.exponential(1.0, count) if service_cv else np.ones(count)
    free_s, waits_s = [0.0] * servers, []
    heapify(free_s)
    for at_s, service_s in zip(arrivals_s.tolist(), services_s.tolist(), strict=True):
        begin_s = max(at_s, free_s[0])
        heapreplace(free_s, begin_s + service_s)
        waits_s.append(begin_s - at_s)
    found_s = wait_quantile_s(
        0.99, servers=servers, rate_rps=rate_rps, service_s=1, arrival_cv=arrival_cv, service_cv=service_cv
    )
    assert found_s == pytest.approx(float(np.quantile(waits_s[count // 10 :], 0.99)), rel=0.25)


def test_more_than_is_served_waits_for_ever_and_no_server_is_refused() -> None:
    assert wait_quantile_s(0.5, servers=2, rate_rps=3, service_s=1, arrival_cv=1, service_cv=1) == float(
        "inf"
    )
    with pytest.raises(ValueError, match="a queue has a server"):
        erlang_c(0, 1)
