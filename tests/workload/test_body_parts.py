"""Bodies in parts: the same bytes, and a document that a hundred requests begin with is in memory once."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servebench.workload import body_parts
from servebench.workload.body_parts import LARGE_BYTES, BodyParts, KeptTexts
from tests.workload.plans import CHAT, plan
from tests.workload.test_planned import SESSION

MILLION = {
    "name": "m", "input_tokens": {"dist": "uniform", "min": 990_000, "max": 995_000}, "output_tokens": 9,
    "shared_prefix": {"tokens": 960_000, "variants": 2},
}  # fmt: skip


@given(st.lists(st.binary(max_size=40) | st.just(b"x" * LARGE_BYTES), max_size=8))
def test_parts_are_the_whole(parts: list[bytes]) -> None:
    body = BodyParts(parts)
    assert bytes(body) == b"".join(parts)
    assert len(body) == len(b"".join(parts))


@pytest.mark.parametrize("cls", [CHAT, MILLION, {**CHAT, "tools": ["run_sql"], "session": SESSION}])
def test_what_is_sent_is_the_body(cls: "dict[str, object]") -> None:
    workload = plan(cls).build()
    for id in (0, 1, 7):
        assert bytes(workload.body_parts(id)) == workload.body(id)


def test_a_hundred_prompts_of_a_million_tokens_wait_in_little_memory() -> None:
    workload = plan(MILLION).build()
    workload.body_parts(0)
    tracemalloc.start()
    waiting = [workload.body_parts(id) for id in range(100)]
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(map(len, waiting)) > 390e6
    assert grown < 30e6, "unique ends of 30,000 tokens each, and one document more"


def test_texts_are_kept_up_to_a_limit_the_last_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_parts, "KEPT_BYTES", 3 * LARGE_BYTES)
    made: list[str] = []

    def make(key: str, size: int) -> bytes:
        made.append(key)
        return key.encode() * size

    texts = KeptTexts(make)
    for key in "abcabcad":
        assert texts(key, LARGE_BYTES) == key.encode() * LARGE_BYTES
    assert made == ["a", "b", "c", "d"]
    texts("a", LARGE_BYTES)
    assert made == ["a", "b", "c", "d"]
    texts("b", LARGE_BYTES)
    assert made[-1] == "b", "the one not used for longest had to go"
    texts("small", 1), texts("small", 1)
    assert made.count("small") == 2
