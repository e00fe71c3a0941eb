"""A trace at another rate: the laws that thinning and superposition keep, by statistics over many draws."""

import json

import numpy as np
import pytest
from arrival_theory import theory_of
from numpy.typing import NDArray
from scipy import stats

from servebench.errors import UsageError
from servebench.workload.bursts import Bursts
from servebench.workload.load import Load
from servebench.workload.schedule import load_starts
from servebench.workload.traces import Trace, parse_trace

RATE_RPS, DURATION_S, WINDOW_S = 20.0, 2500.0, 5.0
BURSTS = Bursts(ratio=6, burst_s=10, calm_s=30)


def trace(load: Load, seed: int = 1) -> Trace:
    starts = load_starts(load, rate_rps=RATE_RPS, duration_s=DURATION_S, seed=seed)
    rng = np.random.default_rng(seed)
    lengths = np.rint(rng.lognormal(6.6, 1.0, len(starts))).astype(np.int64) + 1
    return Trace("t", starts, lengths, lengths % 97 + 1, DURATION_S)


POISSON = trace(Load(rate_rps=RATE_RPS, process="poisson", duration_s=DURATION_S))
MMPP = Load(rate_rps=RATE_RPS, process="mmpp", bursts=BURSTS, duration_s=DURATION_S)
BURSTY = trace(MMPP)


def index_of_dispersion(starts: NDArray[np.int64], window_s: float = WINDOW_S) -> float:
    counts = np.bincount(
        (starts // round(window_s * 1e9)).astype(np.int64), minlength=int(DURATION_S / window_s)
    )
    return float(counts.var() / counts.mean())


@pytest.mark.parametrize("factor", [0.1, 0.5, 1.7, 3.0, 4.25])
def test_a_scaled_poisson_trace_is_poisson_at_the_scaled_rate(factor: float) -> None:
    scaled = POISSON.scale(factor, seed=3)
    expected = factor * len(POISSON)
    assert abs(len(scaled) - expected) < 4 * np.sqrt(expected)
    gaps_s = np.diff(scaled.arrival_ns) / 1e9
    assert stats.kstest(gaps_s, "expon", args=(0, gaps_s.mean())).pvalue > 1e-3
    assert index_of_dispersion(scaled.arrival_ns) == pytest.approx(1, abs=0.25)
    assert abs(np.corrcoef(gaps_s[:-1], gaps_s[1:])[0, 1]) < 4 / np.sqrt(len(gaps_s))


@pytest.mark.parametrize("factor", [0.25, 0.5])
def test_thinning_keeps_as_much_burst_as_can_be(factor: float) -> None:
    """Of counts with dispersion D, thinned independently: 1 + p (D - 1)."""
    whole = index_of_dispersion(BURSTY.arrival_ns)
    assert whole == pytest.approx(theory_of(MMPP, rate_rps=RATE_RPS, seed=1).dispersion(WINDOW_S), rel=0.25)
    thinned = [index_of_dispersion(BURSTY.scale(factor, seed=seed).arrival_ns) for seed in range(8)]
    assert np.mean(thinned) == pytest.approx(1 + factor * (whole - 1), rel=0.05)


@pytest.mark.parametrize("factor", [2.0, 3.0])
def test_superposition_keeps_the_dispersion_and_not_the_alignment(factor: float) -> None:
    """Of independent copies variance and mean add, and D stays; copies in step would have factor * D."""
    whole = index_of_dispersion(BURSTY.arrival_ns)
    laid = [index_of_dispersion(BURSTY.scale(factor, seed=seed).arrival_ns) for seed in range(12)]
    assert np.mean(laid) == pytest.approx(whole, rel=0.25)
    in_step = np.sort(np.tile(BURSTY.arrival_ns, int(factor)))
    assert index_of_dispersion(in_step) == pytest.approx(factor * whole, rel=0.01)


@pytest.mark.parametrize("factor", [0.3, 2.5])
def test_lengths_keep_their_law_and_their_pairs(factor: float) -> None:
    scaled = POISSON.scale(factor, seed=5)
    assert stats.ks_2samp(scaled.input_tokens, POISSON.input_tokens).pvalue > 1e-3
    assert np.array_equal(scaled.output_tokens, scaled.input_tokens % 97 + 1)


def test_a_faster_replay_is_the_same_requests_in_less_time() -> None:
    fast = POISSON.faster(8)
    assert fast.duration_s == DURATION_S / 8
    assert np.abs(fast.arrival_ns * 8 - POISSON.arrival_ns).max() < 8
    assert fast.input_tokens is POISSON.input_tokens
    assert POISSON.faster(1) is POISSON
    blocks = parse_trace(
        "\n".join(
            json.dumps({"timestamp": k, "input_length": 512, "output_length": 1, "hash_ids": [k % 2]})
            for k in range(6)
        ),
        name="b",
    )
    assert blocks.faster(2).blocks is blocks.blocks
    with pytest.raises(UsageError, match="speed must be a number > 0"):
        POISSON.faster(0)
