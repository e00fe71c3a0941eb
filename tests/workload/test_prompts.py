"""Prompt text: exact to the byte, safe in JSON, unique or shared at its start as asked."""

import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servebench.errors import UsageError
from servebench.workload.prompts import CORPUS_BYTES, MARK_BYTES, Corpus, billed_tokens, units_for

CORPUS = Corpus(7)


@given(st.integers(1, 1_000_000), st.floats(1, 8))
def test_every_target_is_billed_exactly_and_one_byte_more_is_not(tokens: int, ratio: float) -> None:
    size = units_for(tokens, units_per_token=ratio)
    assert billed_tokens(size, preamble_tokens=192, units_per_token=ratio) == 192 + tokens
    assert math.ceil((size + 1) / ratio) > tokens


@given(st.integers(0, 3 * CORPUS_BYTES), st.integers(0, 2**40))
def test_text_has_its_size_and_wraps_around(size: int, offset: int) -> None:
    text = CORPUS.text(size, offset)
    assert len(text) == size
    assert text[:50] == CORPUS.text(CORPUS_BYTES, offset)[: min(50, size)]


def test_text_is_words_that_json_need_not_escape() -> None:
    text = CORPUS.text(CORPUS_BYTES, 0)
    assert re.fullmatch(rb"[a-z. ]+", text)
    assert json.dumps(text.decode()) == f'"{text.decode()}"'
    lengths = [len(word) for word in text.decode().split()]
    assert 3 < sum(lengths) / len(lengths) < 8  # as words, not noise
    assert text != Corpus(8).text(CORPUS_BYTES, 0)


@given(st.lists(st.integers(0, 2**39), unique=True, min_size=2, max_size=20))
def test_unshared_texts_differ_within_their_marks(ids: list[int]) -> None:
    assert len({CORPUS.unique(id, MARK_BYTES + 100)[:MARK_BYTES] for id in ids}) == len(ids)


def test_texts_of_two_seeds_differ_from_the_first_byte_on() -> None:
    assert CORPUS.unique(3, 400)[:8] != Corpus(8).unique(3, 400)[:8]


@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
def test_a_shared_text_belongs_to_its_key_and_longer_ones_begin_with_shorter_ones(one: str, two: str) -> None:
    assert CORPUS.shared(one, 5000)[:3000] == CORPUS.shared(one, 3000)
    assert (CORPUS.shared(one, 3000) == CORPUS.shared(two, 3000)) == (one == two)


def test_a_text_too_short_to_be_unique_is_refused() -> None:
    with pytest.raises(UsageError, match="too short"):
        CORPUS.unique(1, MARK_BYTES - 1)
