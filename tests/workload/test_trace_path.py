"""A trace of each form, generated with known moments, the whole way: file -> trace -> schedule -> bodies.

Gaps are Gamma of CV 2 and mean 0.5 s, lengths lognormal; in some forms rows fail, in some prompts share the
starts that the generator gives them. What is read, scheduled and sent is held against the generator's own.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from servebench.workload.moments import gap_cv, index_of_dispersion
from servebench.workload.planned import planned
from servebench.workload.traces import load_trace, read_trace
from tests.workload.plans import plan

Ints = NDArray[np.int64]

ROWS, MEAN_GAP_S, CV = 1500, 0.5, 2.0
INPUT_MU, OUTPUT_MU, SIGMA = 6.8, 4.0, 0.6  # of ln; prompts of 300 and more, so that none has to be raised
START = datetime(2024, 5, 10, 23, 50, tzinfo=UTC)  # the trace passes midnight


@dataclass(frozen=True)
class Made:
    """start_ns rises from 0; variant -1: nothing shared, else prompts of one variant begin alike."""

    start_ns: Ints
    input_tokens: Ints
    output_tokens: Ints
    failed: NDArray[np.bool_]
    variant: Ints


def make(tick_ns: int, *, failures: bool) -> Made:
    rng = np.random.default_rng(7)
    gaps = rng.gamma(CV**-2, MEAN_GAP_S * CV**2, ROWS) * 1e9
    starts = np.cumsum(gaps) - gaps[0]
    failed = (rng.random(ROWS) < 0.05) & (np.arange(ROWS) > 0) & failures
    return Made(
        start_ns=(starts // tick_ns * tick_ns).astype(np.int64),
        input_tokens=np.clip(np.rint(rng.lognormal(INPUT_MU, SIGMA, ROWS)), 300, None).astype(np.int64),
        output_tokens=np.clip(np.rint(rng.lognormal(OUTPUT_MU, SIGMA, ROWS)), 1, None).astype(np.int64),
        failed=failed,
        variant=np.where(rng.random(ROWS) < 0.5, rng.integers(0, 5, ROWS), -1),
    )


def outputs(made: Made) -> list[int]:
    tokens: list[int] = np.where(made.failed, 0, made.output_tokens).tolist()
    return tokens


def azure(made: Made, *, digits: int, zone: str) -> str:
    lines = ["TIMESTAMP,ContextTokens,GeneratedTokens"]
    for start, given, got in zip(made.start_ns.tolist(), made.input_tokens, outputs(made), strict=True):
        seconds, ns = divmod(start, 10**9)
        fraction = f"{ns:09}"[:digits]
        whole = (START + timedelta(seconds=seconds)).strftime("%Y-%m-%d %H:%M:%S")
        lines.append(f"{whole}.{fraction}{zone},{given},{got}")
    return "\r\n".join(lines)


def azure_2023(made: Made) -> str:
    return azure(made, digits=7, zone="")


def azure_2024(made: Made) -> str:
    return azure(made, digits=6, zone="+00:00").replace(".000000+", "+")


def burstgpt(made: Made) -> str:
    lines = ["Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type"]
    for start, given, got in zip(made.start_ns.tolist(), made.input_tokens, outputs(made), strict=True):
        asked = given if got else 0  # most failures have no tokens at all
        lines.append(f"{start // 10**9 + 5},ab12,3.5,GPT-4,{asked},{got},{asked + got},API log")
    return "\n".join(lines)


def blocks_of(made: Made, block_tokens: int, shared_blocks: int) -> list[list[int]]:
    """A variant's ids are 1000 * (variant + 1) and on; what is a prompt's own has ids of its own."""
    own, rows = 10**6, []
    for given, variant in zip(made.input_tokens.tolist(), made.variant.tolist(), strict=True):
        count = -(-given // block_tokens)
        shared = min(shared_blocks, given // block_tokens) if variant >= 0 else 0
        rows.append(
            [1000 * (variant + 1) + k for k in range(shared)] + list(range(own, own + count - shared))
        )
        own += count
    return rows


def hash_rows(made: Made, block_tokens: int, shared_blocks: int, unit_ns: int) -> str:
    ids = blocks_of(made, block_tokens, shared_blocks)
    rows = [
        {"timestamp": start / unit_ns if unit_ns == 10**9 else start // unit_ns,
         "input_length": given, "output_length": got, "hash_ids": row, **more}
        for start, given, got, row, more in zip(
            made.start_ns.tolist(), made.input_tokens.tolist(), outputs(made), ids,
            [{"chat_id": k, "parent_chat_id": -1, "type": "text", "turn": 1} if unit_ns == 10**9 else {}
             for k in range(ROWS)],
            strict=True,
        )
    ]  # fmt: skip
    return "\n".join(map(json.dumps, rows))


def mooncake(made: Made) -> str:
    return hash_rows(made, 512, 1, 10**6)


def bailian(made: Made) -> str:
    return hash_rows(made, 16, 12, 10**9)


def plain(made: Made) -> str:
    keys = ("timestamp_s", "input_tokens", "output_tokens")
    rows = zip((made.start_ns / 1e9).tolist(), made.input_tokens.tolist(), outputs(made), strict=True)
    return "\n".join(json.dumps(dict(zip(keys, row, strict=True))) for row in rows)


# form: file name, writer, tick of its stamps, do rows fail, (tokens of a block, shared blocks)
FORMS: dict[str, tuple[str, Callable[[Made], str], int, bool, tuple[int, int] | None]] = {
    "azure 2023": ("t.csv", azure_2023, 100, False, None),
    "azure 2024": ("t.csv", azure_2024, 1000, False, None),
    "burstgpt": ("t.csv", burstgpt, 10**9, True, None),
    "mooncake": ("t.jsonl", mooncake, 10**6, False, (512, 1)),
    "bailian": ("t.jsonl", bailian, 10**6, True, (16, 12)),
    "plain": ("t.jsonl", plain, 1, False, None),
}


def expected_hits(made: Made, block_tokens: int, shared_blocks: int) -> int:
    """Tokens that an earlier prompt brought, by the generator's own variants."""
    longest = [0] * 5
    hits = 0
    for given, variant in zip(
        made.input_tokens[~made.failed].tolist(), made.variant[~made.failed].tolist(), strict=True
    ):
        if variant < 0:
            continue
        shared = min(shared_blocks, given // block_tokens)
        hits += block_tokens * min(shared, longest[variant])
        longest[variant] = max(longest[variant], shared)
    return hits


@pytest.mark.parametrize("form", FORMS)
def test_a_trace_goes_the_whole_way(form: str, tmp_path: Path) -> None:
    name, write, tick_ns, failures, blocks = FORMS[form]
    made = make(tick_ns, failures=failures)
    (tmp_path / name).write_text(write(made), encoding="utf-8", newline="")
    trace = load_trace(tmp_path / name)
    kept = ~made.failed
    assert trace.skipped == int(made.failed.sum())
    assert (trace.skipped > 0) == failures

    # the file's rows, their lengths and their times, exactly; whole seconds are spread inside their second
    workload = plan(trace=read_trace(tmp_path / name).arrays()).build()
    columns = workload.columns()
    assert columns.raised == columns.shortened == 0
    assert np.array_equal(columns.prompt_tokens, made.input_tokens[kept])
    assert np.array_equal(columns.output_tokens, made.output_tokens[kept])
    assert np.abs(workload.intended_ns - made.start_ns[kept]).max() < (10**9 if tick_ns == 10**9 else 2)

    # the generator's laws, within sampling error
    n = len(columns.prompt_tokens)
    assert n / workload.duration_s == pytest.approx(n / ROWS / MEAN_GAP_S, rel=4 * CV / ROWS**0.5)
    for tokens, mu in ((columns.prompt_tokens, INPUT_MU), (columns.output_tokens, OUTPUT_MU)):
        assert np.median(np.log(tokens)) == pytest.approx(mu, abs=4 * 1.2533 * SIGMA / n**0.5)
    own = made.start_ns[kept]
    found, wanted = (
        index_of_dispersion(starts, window_s=10, duration_s=workload.duration_s)
        for starts in (workload.intended_ns, own)
    )
    assert found == pytest.approx(wanted, rel=1e-9)
    assert found == pytest.approx(CV**2, rel=0.6)
    if tick_ns < 10**9:
        assert gap_cv(workload.intended_ns) == pytest.approx(gap_cv(own), rel=1e-6)
        assert gap_cv(own) == pytest.approx(CV, rel=0.2)

    # the requests themselves: what is sent bills what the trace says
    for id in range(0, n, 150):
        body = json.loads(workload.body(id))
        size = sum(len(message["content"].encode()) for message in body["messages"])
        assert 192 + -(-size // 4) == columns.prompt_tokens[id]
        assert body["max_completion_tokens"] == columns.output_tokens[id]

    if blocks is not None:
        hits = expected_hits(made, *blocks)
        assert trace.blocks is not None
        assert int(trace.blocks.hit_tokens(trace.input_tokens).sum()) == hits
        # the plan counts whole blocks of 64 of the same, or the preamble that all share
        assert planned(workload).cached_tokens.sum() >= hits - 64 * n
