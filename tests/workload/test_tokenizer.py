"""Prompts sized by a real BPE: the text has exactly the tokens asked; the rest stays as it is with bytes."""

import json
import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servebench.errors import UsageError
from servebench.workload import measure as measures
from servebench.workload.bpe_corpus import MARK_TOKENS, BpeCorpus
from servebench.workload.measure import bpe_counter, measure, texts_of
from servebench.workload.plan import Workload, WorkloadPlan
from servebench.workload.planned import planned
from servebench.workload.prompt_set import documents
from servebench.workload.sessions import join_id
from servebench.workload.traces import parse_trace
from tests.workload.plans import CHAT, plan
from tests.workload.test_planned import SESSION
from tests.workload.test_shared_blocks import sharing_text

COUNT = bpe_counter()
CORPUS = BpeCorpus(1, COUNT)


def tokens_of(body: bytes) -> int:
    """Content and tools, counted by the tokenizer itself."""
    parsed = json.loads(body)
    texts = [text for message in parsed["messages"] for text in texts_of(message.get("content"))]
    if "tools" in parsed:
        texts.append(json.dumps(parsed["tools"], separators=(",", ":"), ensure_ascii=False))
    return sum(map(COUNT, texts))


def of(*classes: dict[str, Any], **fields: Any) -> Workload:
    return plan(*classes, tokenizer="o200k", **fields).build()


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 3000), st.integers(0, 2**40))
def test_a_text_has_exactly_the_tokens_asked(size: int, offset: int) -> None:
    assert COUNT(CORPUS.text(size, offset).decode()) == size
    assert COUNT(CORPUS.piece(str(offset), size).decode()) == size
    if size >= MARK_TOKENS:
        assert COUNT(CORPUS.unique(offset % 10**9, size).decode()) == size
        assert COUNT(CORPUS.shared(str(offset), size).decode()) == size


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 700)), min_size=2, max_size=5))
def test_blocks_add_up_behind_each_other(blocks: list[tuple[int, int]]) -> None:
    text = b"".join(CORPUS.block(id, size) for id, size in blocks)
    assert COUNT(text.decode()) == sum(size for _, size in blocks)


def test_a_text_longer_than_the_corpus_wraps_around() -> None:
    assert COUNT(CORPUS.text(700_000, 12_345).decode()) == 700_000


@pytest.mark.parametrize(
    "workload",
    [
        of(CHAT),
        of({**CHAT, "shared_prefix": {"tokens": 300, "share": 0.7, "variants": 3}}),
        of({**CHAT, "tools": ["run_sql"], "session": SESSION}),
        of({"name": "tiny", "input_tokens": 1, "tools": ["get_weather"]}),
        of(prompts=documents(["Größe und Länge " * 40, "两 three " * 9], name="d")),
        of(trace=parse_trace(sharing_text(), name="t").arrays()),
    ],
    ids=["plain", "prefix", "sessions", "raised", "own", "trace"],
)
def test_bodies_have_the_tokens_of_their_specs(workload: Workload) -> None:
    rows = planned(workload)
    for k in range(0, len(rows), max(len(rows) // 40, 1)):
        id = join_id(int(rows.arrival[k]), int(rows.call[k]))
        assert tokens_of(workload.body(id)) == workload.spec(id).prompt_tokens - 192


def test_a_session_only_grows_at_its_end() -> None:
    workload = of({**CHAT, "tools": ["run_sql"], "session": SESSION})
    texts = [
        "\0".join(m["content"] or "" for m in json.loads(workload.body(join_id(0, call)))["messages"])
        for call in range(6)
    ]
    for before, after in pairwise(texts):
        assert after.startswith(before)


def test_the_measure_travels_and_tells_workloads_apart() -> None:
    one = plan(CHAT, tokenizer="o200k")
    again = WorkloadPlan.model_validate_json(one.model_dump_json()).build()
    assert again.schedule_hash == one.build().schedule_hash != plan(CHAT).build().schedule_hash
    assert again.body(3) == one.build().body(3)
    assert "approximate: not Grok's" in one.measure.label
    assert plan(CHAT).measure.label == "4 bytes a token, declared"
    assert measure("bytes", bytes_per_token=4.0).size_of("Größe") == 7


def test_without_the_extra_one_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(measures, "import_module", missing)
    with pytest.raises(UsageError, match=r"pip install 'servebench\[tokenizer\]'"):
        of(CHAT)


def test_the_bytes_differ_from_the_declared_ratio_and_the_mock_bills_them() -> None:
    """What the summary's token truth is for: asked by o200k, billed by bytes."""
    body = of({"name": "c", "input_tokens": 1192}).body(0)
    text = json.loads(body)["messages"][-1]["content"]
    assert COUNT(text) == 1000
    assert math.ceil(len(text) / 4) != 1000
