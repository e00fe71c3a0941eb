"""The birth-death chain: near the simulation, monotone in its limits, and silent where it knows nothing."""

import numpy as np
import pytest

from servebench.catalog.load import load_catalog
from servebench.engine.step_time import StepTimeModel
from servebench.plan.cross_check import CrossCheck, _Chain, cross_check
from servebench.plan.slo_point import Lengths
from servebench.results.slo import parse_slos

CATALOG = load_catalog()
TIER = CATALOG.tier("grok-4.3")
MODEL = StepTimeModel(TIER.shape, TIER.serving, CATALOG.gpu(TIER.serving.gpu_id))
CHAT = Lengths(1_200, 210, 192)


def capacity(*texts: str, cv: float = 1.0, lengths: Lengths = CHAT) -> float:
    found = cross_check(MODEL, lengths, parse_slos(texts), arrival_cv=cv, simulated_rps=60)
    assert found is not None
    return found.chain_rps


def test_tighter_limits_and_burstier_arrivals_carry_less() -> None:
    rates = [capacity(f"tpot p99 < {limit}ms") for limit in (80, 20, 15, 12)]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.8 * rates[0]
    assert capacity("tpot p99 < 15ms", cv=3.0) < capacity("tpot p99 < 15ms")
    assert capacity("tpot p50 < 15ms") > capacity("tpot p99 < 15ms")
    assert capacity("ttft p99 < 2s") <= _Chain(MODEL, CHAT).most_rps
    same = capacity(f"tpot p99 <= {1000 / 70:.6f}ms")
    assert capacity("interactivity p99 >= 70") == pytest.approx(same, rel=1e-3)


def test_the_states_are_a_distribution_and_an_m_m_1_where_one_place_is() -> None:
    chain = _Chain(MODEL, CHAT)
    pi = chain.states(0.5 * chain.most_rps)
    assert pi.sum() == pytest.approx(1)
    assert (pi >= 0).all()
    # far beyond the places the chain is M/M/1 with the last rate: each state rho times the one before
    rate = 0.97 * chain._mu[-1]
    tail = chain.states(rate)[chain.places + 1 :]
    assert tail[1:] / tail[:-1] == pytest.approx(np.full(len(tail) - 1, 0.97))


def test_what_it_does_not_judge_it_does_not_answer() -> None:
    assert cross_check(MODEL, CHAT, parse_slos(["e2e p99 < 9s"]), arrival_cv=1, simulated_rps=60) is None
    hopeless = parse_slos(["tpot p99 < 0.1ms"])
    assert cross_check(MODEL, CHAT, hopeless, arrival_cv=1, simulated_rps=60) is None
    far = CrossCheck(10.0, -0.4)
    assert "over 25% apart" in far.sentence
    assert "apart" not in CrossCheck(10.0, 0.1).sentence.replace("-", "")
