"""Erlang C, and what it says of waiting when arrivals and services are not exponential.

    B(0) = 1,  B(k) = a B(k-1)/(k + a B(k-1)),  C = B(c)/(1 - rho (1 - B(c)))     a = lambda S, rho = a/c
    mean wait  Wq = C S/(c (1 - rho)) (Ca^2 + Cs^2)/2                              (Allen and Cunneen)
    P(W > t) = C exp(-C t/Wq)

C: the share of arrivals that find all c servers busy in M/M/c (Erlang 1917). The wait of those that do wait
is taken to be exponential: exact for M/M/c, and the heavy-traffic limit of GI/G/c (Kingman 1962). Source: A.
O. Allen, Probability, Statistics, and Queueing Theory, 2nd ed. 1990, chapter 5.
"""

from math import log


def erlang_c(servers: int, load: float) -> float:
    """The share of arrivals that wait. load: arrivals times service time, in servers; 1 from `servers` on."""
    if servers < 1 or load < 0:
        raise ValueError(f"a queue has a server and no negative load, not {servers} and {load}")
    if load >= servers:
        return 1.0
    blocked = 1.0
    for k in range(1, servers + 1):
        blocked = load * blocked / (k + load * blocked)
    return blocked / (1 - load / servers * (1 - blocked))


def wait_quantile_s(
    quantile: float, *, servers: int, rate_rps: float, service_s: float, arrival_cv: float, service_cv: float
) -> float:
    """The wait that this share of arrivals does not pass; +inf where more comes than is served."""
    load = rate_rps * service_s
    if load >= servers:
        return float("inf")
    waiting = erlang_c(servers, load)
    if waiting <= 1 - quantile:
        return 0.0
    of_those_s = service_s / (servers - load) * (arrival_cv**2 + service_cv**2) / 2
    return of_those_s * log(waiting / (1 - quantile))
