"""The birth-death chain and Erlang C: near the simulation, monotone in their limits, silent where they know
nothing.
"""

from dataclasses import replace

import numpy as np
import pytest

from servebench.catalog.load import load_catalog
from servebench.engine.step_time import StepTimeModel
from servebench.plan.batches import Batches
from servebench.plan.cross_check import CHAIN, ERLANG_C, Chain, Opinion, cross_checks
from servebench.plan.slo_point import Lengths
from servebench.results.slo import parse_slos

CATALOG = load_catalog()
TIER = CATALOG.tier("grok-4.3")
MODEL = StepTimeModel(TIER.shape, TIER.serving, CATALOG.gpu(TIER.serving.gpu_id))
CHAT = Lengths(1_200, 210, 192)


def opinions(*texts: str, cv: float = 1.0) -> dict[str, float]:
    found = cross_checks(MODEL, CHAT, parse_slos(texts), arrival_cv=cv, output_cv=0.9, simulated_rps=60)
    return {each.name: each.calls_per_s for each in found}


@pytest.mark.parametrize("name", [CHAIN, ERLANG_C])
def test_tighter_limits_carry_less(name: str) -> None:
    rates = [opinions(f"tpot p99 < {limit}ms")[name] for limit in (80, 20, 15, 12)]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.8 * rates[0]
    assert opinions("tpot p50 < 15ms")[name] > opinions("tpot p99 < 15ms")[name]
    assert opinions("ttft p99 < 2s")[name] <= Chain(Batches.of(MODEL, CHAT)).mu.max()
    same = opinions(f"tpot p99 <= {1000 / 70:.6f}ms")[name]
    assert opinions("interactivity p99 >= 70")[name] == pytest.approx(same, rel=1e-3)


def test_burstier_arrivals_carry_less() -> None:
    assert opinions("tpot p99 < 15ms", cv=3.0)[CHAIN] < opinions("tpot p99 < 15ms")[CHAIN]
    assert opinions("ttft p99 < 200ms", cv=3.0)[ERLANG_C] < opinions("ttft p99 < 200ms")[ERLANG_C]


@pytest.mark.parametrize("lengths", [CHAT, Lengths(900_000, 2_000)])
@pytest.mark.parametrize("share", [0.3, 0.8, 0.95])
def test_the_states_are_those_of_the_generator_matrix(lengths: Lengths, share: float) -> None:
    """By linear algebra, of as many states as hold all but nothing of it: few places queue for long."""
    chain = Chain(Batches.of(MODEL, lengths))
    rps, count, places = share * float(chain.mu[-1]), 1_000, len(chain.mu)
    mu = np.concatenate([chain.mu, np.full(count - 1 - places, chain.mu[-1])])
    generator = np.diag(np.full(count - 1, rps), 1) + np.diag(mu, -1)
    generator -= np.diag(generator.sum(axis=1))
    balance = np.vstack([generator.T[:-1], np.ones(count)])
    pi = np.linalg.solve(balance, np.append(np.zeros(count - 1), 1.0))
    assert chain.states(rps) == pytest.approx(pi[: places + 1], abs=1e-9)
    shares = [0.5, 0.9, 0.99]
    mean, quantiles = chain.mean_and_quantiles(rps, shares)
    assert mean == pytest.approx(float((pi * np.arange(count)).sum()), rel=1e-6)
    assert quantiles == [float(np.searchsorted(np.cumsum(pi), share)) for share in shares]


def test_one_place_is_an_m_m_1() -> None:
    """An arrival that meets n calls waits for all of them: P(more than n met) = rho^(n + 1)."""
    batches = Batches.of(MODEL, CHAT)
    one = Chain(
        replace(
            batches,
            tpot_s=batches.tpot_s[:1],
            prefill_s=batches.prefill_s[:1],
            service_s=batches.service_s[:1],
        )
    )
    served_s, alone_s = float(one.mu[0] ** -1), batches.floor_s + float(batches.prefill_s[0])
    mean, (met,) = one.mean_and_quantiles(0.9 / served_s, [0.99])
    assert mean == pytest.approx(0.9 / 0.1)
    assert met == 43  # 0.9^44 < 0.01 < 0.9^43
    for more, kept in ((1e-6, True), (-1e-6, False)):
        limit_s = alone_s + 43 * served_s + more
        slos = parse_slos([f"ttft p99 <= {limit_s:.9f}s"])
        assert one.meets(slos, 0.9 / served_s, 1.0) is kept


def test_what_they_do_not_judge_they_do_not_answer() -> None:
    assert opinions("e2e p99 < 9s") == {}
    assert opinions("tpot p99 < 0.1ms") == {}
    assert "over 25% apart" in Opinion(CHAIN, 10.0, -0.4).sentence
    assert "apart" not in Opinion(CHAIN, 10.0, 0.1).sentence
