"""Texts built from regular expressions, judged by re."""

import re
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mock_server.pattern_text import PatternError, pattern_text
from mock_server.schema_merge import SchemaError
from mock_server.schema_value import schema_value

atoms = st.sampled_from(
    ["a", "Z", r"\d", r"\w", r"\s", r"\D", r"\W", r"\S", ".", "[a-f0-9]", "[^a-z]", r"\.", "[-_]"]
)
counts = st.sampled_from(["", "*", "+", "?", "{2}", "{1,4}", "{3,}", "*?"])
patterns = st.recursive(
    st.builds(lambda atom, count: atom + count, atoms, counts),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: f"({'|'.join(parts)})"),
        st.builds(lambda part, count: f"(?:{part}){count}", inner, st.sampled_from(["", "{2}", "?"])),
    ),
    max_leaves=6,
)


def made(pattern: str, seed: int = 0) -> str:
    return pattern_text(pattern, Random(seed), lambda _: None)


@given(pattern=patterns, seed=st.integers(0, 9))
def test_what_is_made_matches_whole(pattern: str, seed: int) -> None:
    assert re.fullmatch(pattern, made(pattern, seed), re.DOTALL)
    assert made(f"^{pattern}$", seed) == made(pattern, seed)


@pytest.mark.parametrize(
    "pattern",
    [
        r"^\d{5}(-\d{4})?$",
        r"^[A-Z]{2}\d{6}$",
        r"^(GET|POST) /[a-z]+$",
        r"^#[0-9a-fA-F]{6}$",
        r"^\+?[1-9]\d{1,14}$",
    ],
)
def test_usual_ones(pattern: str) -> None:
    for seed in range(20):
        value = schema_value({"type": "string", "pattern": pattern}, Random(seed))
        assert re.search(pattern, value)


@pytest.mark.parametrize("pattern", [r"(?=a)b", r"(a)\1", r"\bword\b", "(", r"\p{L}", "[a", "a^b"])
def test_what_is_not_built_is_refused(pattern: str) -> None:
    with pytest.raises(PatternError):
        made(pattern)
    with pytest.raises(SchemaError):
        schema_value({"type": "string", "pattern": pattern}, Random(0))


def test_lengths_hold_too_and_sizes_are_bounded() -> None:
    schema = {"type": "string", "pattern": "^[a-z]*$", "minLength": 3, "maxLength": 3}
    assert len(schema_value(schema, Random(1))) == 3
    for hopeless in ("a{1000000}", "(a{100}){1000}"):
        with pytest.raises(SchemaError):
            schema_value({"type": "string", "pattern": hopeless}, Random(1))
    with pytest.raises(SchemaError, match="no text of the wanted length"):
        schema_value({"type": "string", "pattern": "^abc$", "maxLength": 2}, Random(1))
