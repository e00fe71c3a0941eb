"""A synthetic run: an M/G/infinity-like server with known latencies, failures and bills, seeded."""

from array import array
from pathlib import Path
from typing import Any

import numpy as np

from servebench.meter.record import Outcome, RequestRecord
from servebench.results.chunk_times import ChunkTimes
from servebench.results.columns import Columns
from servebench.results.parts import PartWriter
from servebench.results.run_directory import write_manifest

Made = list[tuple[RequestRecord, "array[int]"]]
INPUT_TICKS, CACHED_TICKS, OUTPUT_TICKS = 12_500, 2_000, 25_000  # Grok 4.3's published prices


def make(
    n: int,
    *,
    rate_rps: float = 20.0,
    seed: int = 1,
    failed_share: float = 0.0,
    chunks: int = 20,
    classes: tuple[str, ...] = ("chat", "code"),
    ttft_s: float = 0.2,
    lag_us: int = 80,
) -> Made:
    rng = np.random.default_rng(seed)
    made: Made = []
    for number in range(n):
        intended = round(number / rate_rps * 1e9)
        sent = intended + int(rng.integers(1, lag_us)) * 1000
        name = classes[number % len(classes)]
        if rng.random() < failed_share:
            made.append((failed(number, name, intended, sent), array("i")))
            continue
        times = np.empty(chunks, dtype=np.int64)
        times[0] = int(ttft_s * 1e6 * rng.lognormal(0, 0.3))
        times[1:] = (10_000 * rng.lognormal(0, 0.2, chunks - 1)).astype(np.int64)
        made.append((succeeded(number, name, intended, sent, times), array("i", times.tolist())))
    return made


def succeeded(
    number: int,
    name: str,
    intended_ns: int,
    sent_ns: int,
    times_us: "np.ndarray[tuple[int], np.dtype[np.int64]]",
) -> RequestRecord:
    first = sent_ns + int(times_us[0]) * 1000
    last = sent_ns + int(times_us.sum()) * 1000
    prompt, cached, output = 1000, 300, len(times_us)
    ticks = (prompt - cached) * INPUT_TICKS + cached * CACHED_TICKS + output * OUTPUT_TICKS
    return RequestRecord(
        id=number, class_name=name, session=None, turn=0, model="grok-4.3",
        intended_ns=intended_ns, sent_ns=sent_ns,
        first_token_ns=first, first_visible_ns=first, last_token_ns=last, end_ns=last + 50_000,
        outcome=Outcome.SUCCESS, status=200, finish_reason="stop", prompt_tokens=prompt,
        cached_tokens=cached, completion_tokens=output,
        reasoning_tokens=0, usage_source="usage", chunks=len(times_us),
        cost_usd=f"{ticks / 10**10:.10f}", cost_source="billed", billed_ticks=ticks,
    )  # fmt: skip


def failed(
    number: int, name: str, intended_ns: int, sent_ns: int | None, outcome: Outcome = Outcome.HTTP_5XX
) -> RequestRecord:
    return RequestRecord(
        id=number, class_name=name, session=None, turn=0, model="grok-4.3",
        intended_ns=intended_ns, sent_ns=sent_ns,
        first_token_ns=None, first_visible_ns=None, last_token_ns=None, end_ns=intended_ns + 10_000_000,
        outcome=outcome, status=503 if outcome is Outcome.HTTP_5XX else None,
        cost_usd="0", cost_source="estimated",
    )  # fmt: skip


def chunk_times(made: Made) -> ChunkTimes:
    return ChunkTimes.of([times for _, times in made])


def columns_of(made: Made) -> Columns:
    return Columns.of([record for record, _ in made], chunk_times(made))


def write(run_dir: Path, made: Made, *, parts: int = 2, **manifest: Any) -> None:
    """The run on disk, still in parts, each part in the order the requests ended."""
    last_s = made[-1][0].intended_ns / 1e9 if made else 0.0
    facts = {
        "schema": 1, "run_id": run_dir.name, "scenario": {"name": "made"}, "model": "grok-4.3",
        "mode": "open",
        "target": {"kind": "mock", "url": "http://127.0.0.1:1"}, "seed": 1, "warmup_s": 0.0,
        "duration_s": last_s + 0.05, "planned_requests": len(made), "workers": parts,
    }  # fmt: skip
    write_manifest(run_dir, {**facts, **manifest})
    writers = [PartWriter(run_dir, part) for part in range(parts)]
    for record, times in sorted(made, key=lambda one: one[0].end_ns):
        writers[record.id % parts].write(record, times)
    for writer in writers:
        writer.close()
