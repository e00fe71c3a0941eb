"""Asked, sent and billed: sums, and a hidden preamble found from bills alone."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servebench.results.columns import Columns
from servebench.results.token_truth import token_truth
from tests.results.made_run import columns_of, make

MANIFEST = {
    "tokenizer": "4 bytes a token, declared",
    "preamble_tokens": 192,
    "scenario": {"cache_share": 0.3},
}


def billed(preamble: int, ratio: float, n: int = 60) -> Columns:
    content = np.random.default_rng(n).integers(10, 5000, n)
    made = [
        (
            dataclasses.replace(
                record,
                asked_prompt_tokens=int(size),
                sent_prompt_tokens=192 + int(size),
                prompt_tokens=preamble + round(ratio * size),
            ),
            times,
        )
        for (record, times), size in zip(make(n), content.tolist(), strict=True)
    ]
    return columns_of(made)


@settings(deadline=None)
@given(st.integers(0, 2000), st.floats(0.5, 2.0))
def test_preamble_and_tokenizer_are_told_apart(preamble: int, ratio: float) -> None:
    truth = token_truth(billed(preamble, ratio), MANIFEST)
    assert truth is not None
    assert truth.preamble_tokens == pytest.approx(preamble, abs=1)
    assert truth.ratio == pytest.approx(ratio, abs=1e-3)
    assert truth.sent - truth.asked == 192 * truth.requests


def test_what_is_said() -> None:
    truth = token_truth(billed(1528, 1.1), MANIFEST)
    assert truth is not None
    first, second, third = truth.texts()
    assert "by 4 bytes a token, declared" in first
    assert "1,528 tokens of hidden preamble (192 declared) and 1.100 for each token sent" in second
    assert third.endswith("30% meant")
    assert truth.to_json()["billed_over_sent"] == truth.billed / truth.sent


def test_without_usage_nothing_is_told_and_few_lengths_fit_nothing() -> None:
    assert token_truth(columns_of(make(5)), MANIFEST) is None
    few = token_truth(billed(192, 1.0, 9), MANIFEST)
    assert few is not None
    assert few.preamble_tokens is None
    replayed = token_truth(billed(192, 1.0), {**MANIFEST, "trace": "t"})
    assert replayed is not None
    assert replayed.stated_cache_share is None, "a trace shares what it shares"
