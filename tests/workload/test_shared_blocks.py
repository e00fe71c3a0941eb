"""Traces that say what prompts share: bodies rebuilt from block ids share it, in bytes and in the cache."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servebench.engine.kv_cache import KvCache, prompt_block_keys
from servebench.engine.sequence import Sequence
from servebench.workload.plan import TraceArrays, Workload, WorkloadPlan
from servebench.workload.trace_blocks import TraceBlocks
from servebench.workload.traces import Trace, parse_trace, read_trace, spread
from tests.data_dir import find_data
from tests.workload.plans import plan

CACHE_TOKENS = 64  # xAI's cached counts are multiples of it


def sharing_text(rows: int = 60) -> str:
    """Mooncake's form: three documents of 40 blocks, each asked about again and again, with own tails."""
    lines, fresh = [], 200
    for k in range(rows):
        tail = 1 + k % 5
        ids = [*range(k % 3 * 50, k % 3 * 50 + 40 - k % 7), *range(fresh, fresh + tail)]
        fresh += tail
        tokens = len(ids) * 512 - 37 * (k % 11)
        lines.append(
            {"timestamp": k // 10 * 3000, "input_length": tokens, "output_length": 20, "hash_ids": ids}
        )
    return "\n".join(map(json.dumps, lines))


def content(body: bytes) -> bytes:
    return "".join(message["content"] for message in json.loads(body)["messages"]).encode()


def unlimited_hit_share(workload: Workload, block_tokens: int) -> float:
    """Share of prompt tokens found in a KV cache that never evicts, by the bytes that would be sent."""
    cache, hit, total = KvCache(10**9, block_tokens), 0, 0
    one = workload.plan
    for id in range(len(workload.intended_ns)):
        keys = prompt_block_keys(
            content(workload.body(id)),
            preamble_tokens=one.preamble_tokens,
            bytes_per_token=one.bytes_per_token,
            block_tokens=block_tokens,
        )
        tokens = workload.spec(id).prompt_tokens
        sequence = Sequence(id, 0.0, tokens, 1, keys)
        assert cache.admit(sequence, tokens)
        hit, total = hit + sequence.computed, total + tokens
        sequence.computed = tokens
        cache.share(sequence)
        cache.release(sequence)
    return hit / total


@pytest.mark.parametrize("ratio", [4.0, 3.7, 1.0])
@pytest.mark.parametrize("preamble", [0, 192, 1528])
def test_bodies_share_exactly_the_blocks_their_ids_share(ratio: float, preamble: int) -> None:
    trace = parse_trace(sharing_text(), name="t")
    workload = plan(trace=trace.arrays(), bytes_per_token=ratio, preamble_tokens=preamble).build()
    assert trace.blocks is not None
    texts = [content(workload.body(id)) for id in range(20)]
    for one, other in ((a, b) for a in range(20) for b in range(a)):
        ids = trace.blocks.of(one), trace.blocks.of(other)
        shared = next((k for k, (x, y) in enumerate(zip(*ids, strict=False)) if x != y), min(map(len, ids)))
        end = max(0, int((shared * 512 - preamble) * ratio))
        assert texts[one][:end] == texts[other][:end]
        following = int(CACHE_TOKENS * ratio)
        if len(texts[one]) > end + following < len(texts[other]) and shared * 512 >= preamble:
            assert texts[one][end : end + following] != texts[other][end : end + following]


@pytest.mark.parametrize("tools", [[], ["get_weather", "run_sql"]])
def test_bodies_bill_what_the_trace_asked_and_hit_at_block_ends(tools: list[str]) -> None:
    trace = parse_trace(sharing_text(), name="t")
    cls = {"name": "c", "input_tokens": 9, "tools": tools, "shared_prefix": {"tokens": 5000}}
    workload = plan(cls, trace=trace.arrays()).build()
    for id in range(len(trace)):
        spec, body = workload.spec(id), json.loads(workload.body(id))
        size = (
            len(content(workload.body(id)))
            + len(json.dumps(body.get("tools", ""), separators=(",", ":")))
            - (0 if tools else 2)
        )
        assert 192 + -(-size // 4) == spec.prompt_tokens == trace.input_tokens[id]
        assert (spec.prefix_key, spec.prefix_tokens) == ("", 0)  # the trace says what is shared
    if not tools:
        assert trace.blocks is not None
        share = unlimited_hit_share(workload, CACHE_TOKENS)
        assert share == pytest.approx(trace.blocks.hit_share(trace.input_tokens), abs=0.002)


def test_blocks_travel_in_the_plan_and_the_hash_tells_them() -> None:
    trace = parse_trace(sharing_text(), name="t")
    one = plan(trace=trace.arrays())
    here, there = one.build(), WorkloadPlan.model_validate_json(one.model_dump_json()).build()
    assert here.schedule_hash == there.schedule_hash
    assert all(here.body(id) == there.body(id) for id in range(len(trace)))
    other = parse_trace(sharing_text().replace("[0, 1,", "[0, 999,"), name="t")
    assert plan(trace=other.arrays()).build().schedule_hash != here.schedule_hash
    assert here.spec(0).block_ids == trace.blocks.of(0) if trace.blocks else False


@given(st.lists(st.lists(st.integers(0, 2**40), max_size=6), min_size=1, max_size=12), st.data())
def test_packing_is_exact_and_rows_keep_their_blocks(rows: list[list[int]], data: Any) -> None:
    inputs = np.array([data.draw(st.integers(1, 100)) for _ in rows], dtype=np.int64)
    blocks = TraceBlocks.numbered(rows, block_tokens=16, input_tokens=inputs)
    again = TraceBlocks.unpack(blocks.packed(), block_tokens=16, input_tokens=inputs)
    counts = -(-inputs // 16)
    for k, row in enumerate(rows):
        assert again.of(k) == blocks.of(k)
        assert blocks.of(k)[: len(row)] == tuple(row[: counts[k]])
        assert len(blocks.of(k)) == counts[k]
    picked = np.array(data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=8)), dtype=np.int64)
    part = blocks.rows(picked)
    assert [part.of(k) for k in range(len(picked))] == [blocks.of(int(k)) for k in picked]
    known = {id for row, count in zip(rows, counts, strict=True) for id in row[:count]}
    filled = [id for k, row in enumerate(rows) for id in blocks.of(k)[len(row) :]]
    assert len(set(filled)) == len(filled)  # what the file has no id for is shared with nobody
    assert not known & set(filled)


def test_copies_of_a_scaled_trace_share_nothing_with_each_other() -> None:
    trace = parse_trace(sharing_text(), name="t")
    assert trace.blocks is not None
    share = trace.blocks.hit_share(trace.input_tokens)
    tripled = trace.scale(3, seed=2)
    assert tripled.blocks is not None
    assert tripled.blocks.hit_share(tripled.input_tokens) == pytest.approx(share, abs=0.03)
    assert len(set(tripled.blocks.ids.tolist())) == 3 * len(set(trace.blocks.ids.tolist()))


def test_bins_are_spread_and_keep_rows_and_order() -> None:
    trace = parse_trace(sharing_text(600), name="t")
    rows = [json.loads(line) for line in sharing_text(600).splitlines()]
    assert trace.input_tokens.tolist() == [row["input_length"] for row in rows]
    bins = np.array([row["timestamp"] for row in rows])
    assert np.array_equal(trace.arrival_ns // (3 * 10**9) * 3000, bins)
    assert len(np.unique(trace.arrival_ns)) == 600
    inside = trace.arrival_ns % (3 * 10**9) / 3e9
    assert np.histogram(inside, 4, (0, 1))[0] == pytest.approx([150] * 4, abs=45)
    assert np.array_equal(parse_trace(sharing_text(600), name="t").arrival_ns, trace.arrival_ns)
    assert not np.array_equal(parse_trace(sharing_text(600), name="t", seed=1).arrival_ns, trace.arrival_ns)


@settings(max_examples=50)
@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=40, unique=True), st.integers(0, 9))
def test_times_that_never_repeat_are_left_alone(times: list[int], seed: int) -> None:
    sorted_ns = np.sort(np.array(times, dtype=np.int64))
    assert np.array_equal(spread(sorted_ns, seed=seed), sorted_ns)


def test_packed_nonsense_is_refused() -> None:
    good = parse_trace(sharing_text(), name="t").arrays().model_dump()
    for wrong in ({"block_ids": "!"}, {"block_ids": None}, {"block_tokens": 100}, {"block_ids": "c" * 40}):
        with pytest.raises(ValueError, match="block"):
            TraceArrays.model_validate({**good, **wrong})


@pytest.mark.parametrize(
    ("name", "rows", "share"), [("conversation", 12_031, 0.374), ("synthetic", 3_993, 0.651)]
)
def test_mooncakes_prompts_hit_an_unlimited_cache_as_the_trace_does(
    name: str, rows: int, share: float
) -> None:
    """Through all that is between: bins, the plan's JSON, the bodies' bytes, the engine's keys and cache."""
    trace: Trace = read_trace(find_data("mooncake", f"{name}_trace.jsonl"))
    assert len(trace) == rows
    assert trace.blocks is not None
    assert trace.blocks.hit_share(trace.input_tokens) == pytest.approx(share, abs=0.001)  # published
    text = plan(trace=trace.arrays()).model_dump_json()
    assert len(text) < 60 * rows  # the block ids of the conversations alone are 2 MB as JSON
    workload = WorkloadPlan.model_validate_json(text).build()
    assert unlimited_hit_share(workload, 512) == pytest.approx(share, abs=0.02)
