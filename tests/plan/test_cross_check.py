"""The birth-death chain and Erlang C: near the simulation, monotone in their limits, silent where they know
nothing.
"""

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


def test_the_states_are_a_distribution_and_an_m_m_1_where_one_place_is() -> None:
    chain = Chain(Batches.of(MODEL, CHAT))
    pi = chain.states(0.5 * chain.mu.max())
    assert pi.sum() == pytest.approx(1)
    assert (pi >= 0).all()
    # far beyond the places the chain is M/M/1 with the last rate: each state rho times the one before
    tail = chain.states(0.97 * chain.mu[-1])[len(chain.mu) + 1 :]
    assert tail[1:] / tail[:-1] == pytest.approx(np.full(len(tail) - 1, 0.97))


def test_what_they_do_not_judge_they_do_not_answer() -> None:
    assert opinions("e2e p99 < 9s") == {}
    assert opinions("tpot p99 < 0.1ms") == {}
    assert "over 25% apart" in Opinion(CHAIN, 10.0, -0.4).sentence
    assert "apart" not in Opinion(CHAIN, 10.0, 0.1).sentence
