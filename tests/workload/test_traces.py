"""Traces: read exactly, selected, scaled without changing what they are, and refused with the lines that
are wrong.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servebench.errors import UsageError
from servebench.workload.traces import Trace, load_trace, parse_trace
from tests.data_dir import find_data
from tests.workload.plans import plan

HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens"


def azure_text(rows: int, *, end: str = "\r\n") -> str:
    """A small trace in Azure's form: bursts of two, 100-ns stamps that pass midnight, CRLF, no last
    newline.
    """
    lines = [HEADER]
    for k in range(rows):
        tenths_us = (86_390 * 10**7 + k // 2 * 3_700_001 + k % 2 * 12_345) % (86_400 * 10**7)
        day = 16 if tenths_us > 43_200 * 10**7 else 17
        seconds, fraction = divmod(tenths_us, 10**7)
        clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{fraction:07}"
        lines.append(f"2023-11-{day} {clock},{300 + 17 * k % 900},{10 + k % 50}")
    return end.join(lines)


SMALL = parse_trace(azure_text(400), name="small")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_an_azure_file_is_read_exactly_to_100_ns(end: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(azure_text(400, end=end), newline="")
    trace = load_trace(tmp_path / "t.csv")
    assert trace.arrival_ns.tolist() == [k // 2 * 370_000_100 + k % 2 * 1_234_500 for k in range(400)]
    assert trace.input_tokens.tolist() == [300 + 17 * k % 900 for k in range(400)]
    assert trace.output_tokens.tolist() == [10 + k % 50 for k in range(400)]
    assert len(trace) / trace.duration_s == pytest.approx(400 / (399 / 2 * 0.37), rel=0.01)


def test_a_jsonl_file_says_the_same(tmp_path: Path) -> None:
    keys = ("timestamp_s", "input_tokens", "output_tokens")
    vectors = (SMALL.arrival_ns / 1e9, SMALL.input_tokens, SMALL.output_tokens)
    rows = [dict(zip(keys, row, strict=True)) for row in zip(*(v.tolist() for v in vectors), strict=True)]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    trace = load_trace(tmp_path / "t.jsonl")
    assert np.array_equal(trace.arrival_ns, SMALL.arrival_ns)
    assert np.array_equal(trace.input_tokens, SMALL.input_tokens)


def test_rows_out_of_order_are_sorted_with_their_lengths() -> None:
    rows = [(3.0, 30, 3), (1.0, 10, 1), (2.0, 20, 2)]
    keys = ("timestamp_s", "input_tokens", "output_tokens")
    text = "\n".join(json.dumps(dict(zip(keys, row, strict=True))) for row in rows)
    trace = parse_trace(text, name="t")
    assert trace.arrival_ns.tolist() == [0, 10**9, 2 * 10**9]
    assert trace.input_tokens.tolist() == [10, 20, 30]


@given(st.floats(0, 70), st.floats(0.5, 80))
def test_a_selection_has_the_requests_of_its_window_and_no_others(start_s: float, duration_s: float) -> None:
    try:
        part = SMALL.select(start_s=start_s, duration_s=duration_s)
    except UsageError:
        inside = (start_s * 1e9 < SMALL.arrival_ns) & (SMALL.arrival_ns < (start_s + duration_s) * 1e9 - 1)
        assert not inside.any()
        return
    start_ns = round(start_s * 1e9)
    kept = (SMALL.arrival_ns >= start_ns) & (SMALL.arrival_ns < start_ns + duration_s * 1e9)
    assert np.array_equal(part.arrival_ns, SMALL.arrival_ns[kept] - start_ns)
    assert np.array_equal(part.input_tokens, SMALL.input_tokens[kept])
    assert part.duration_s <= duration_s


@settings(max_examples=40)
@given(st.floats(0.05, 6), st.integers(0, 2**32))
def test_scaling_keeps_lengths_together_and_times_inside(factor: float, seed: int) -> None:
    scaled = SMALL.scale(factor, seed=seed)
    assert np.all(np.diff(scaled.arrival_ns) >= 0)
    assert scaled.arrival_ns[0] >= 0
    assert scaled.arrival_ns[-1] < scaled.duration_s * 1e9
    assert scaled.duration_s == SMALL.duration_s
    assert len(scaled) == pytest.approx(400 * factor, abs=5 * (400 * factor) ** 0.5 + 5)
    pairs = set(zip(SMALL.input_tokens.tolist(), SMALL.output_tokens.tolist(), strict=True))
    assert set(zip(scaled.input_tokens.tolist(), scaled.output_tokens.tolist(), strict=True)) <= pairs
    assert np.array_equal(SMALL.scale(factor, seed=seed).arrival_ns, scaled.arrival_ns)


def test_whole_factors_keep_every_request_and_one_changes_nothing() -> None:
    assert SMALL.scale(1) is SMALL
    tripled = SMALL.scale(3, seed=4)
    assert len(tripled) == 1200
    assert sorted(tripled.input_tokens.tolist()) == sorted(SMALL.input_tokens.tolist() * 3)
    assert len(np.unique(tripled.arrival_ns)) > 1100  # copies in step would leave 400


def test_every_wrong_line_is_told_with_its_number() -> None:
    good = "2023-11-16 18:15:46.6805900,374,44"
    lines = [
        HEADER,
        good,
        "yesterday,374,44",
        good.replace("374", "-3"),
        "",
        good + ",5",
        good.replace("44", "4.5"),
    ]
    with pytest.raises(UsageError) as caught:
        parse_trace(
            "\n".join(
                [*lines, "2023-13-16 18:15:46,1,1", "2023-11-16 25:15:46,1,1", "9023-11-16 18:15:46,1,1"]
            ),
            name="t.csv",
        )
    starts = [problem.split(":")[0] for problem in caught.value.problems]
    assert starts == [f"t.csv, line {number}" for number in (3, 4, 6, 7, 8, 9, 10)]
    with pytest.raises(UsageError) as caught:
        parse_trace('{"timestamp_s": 1, "input_tokens": 5}\n{\n[]\n{"timestamp_s": true}', name="t.jsonl")
    assert [problem.split(":")[0][-1] for problem in caught.value.problems] == ["1", "2", "3", "4"]


def test_a_file_full_of_errors_shows_twenty_and_counts_the_rest() -> None:
    with pytest.raises(UsageError) as caught:
        parse_trace("\n".join([HEADER, *["x,1,1"] * 50]), name="t.csv")
    assert len(caught.value.problems) == 21
    assert caught.value.problems[-1] == "t.csv: and 30 more"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "must be the columns TIMESTAMP,ContextTokens,GeneratedTokens"),
        (HEADER, "holds no request"),
        ("time,ContextTokens\n1,2", "TIMESTAMP, GeneratedTokens is missing"),
        ('{"timestamp_s": NaN, "input_tokens": 5, "output_tokens": 5}', "must be a number of seconds"),
        (
            '{"timestamp_s": 0, "input_tokens": 5, "output_tokens": 0}',
            "output_tokens must be a whole number >= 1",
        ),
    ],
)
def test_what_is_no_trace_is_one_sentence(text: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem.replace(".", r"\.")) as caught:
        parse_trace(text, name="t")
    assert len(caught.value.problems) == 1


def test_selections_and_factors_that_leave_nothing_are_refused(tmp_path: Path) -> None:
    wrong: list[Callable[[Trace], Trace]] = [
        lambda trace: trace.select(start_s=900),
        lambda trace: trace.select(start_s=-1),
        lambda trace: trace.select(duration_s=0),
        lambda trace: trace.scale(0),
        lambda trace: trace.scale(-2),
        lambda trace: trace.scale(1e-9),
        lambda trace: trace.scale(1e9),
        lambda trace: trace.faster(1e-12),
    ]
    for attempt in wrong:
        with pytest.raises(UsageError):
            attempt(SMALL)
    with pytest.raises(UsageError, match="cannot be read"):
        load_trace(tmp_path / "none.csv")


def test_a_trace_in_a_plan_gives_its_own_starts_and_lengths() -> None:
    one = plan(trace=SMALL.arrays())
    workload = type(one).model_validate_json(one.model_dump_json()).build()
    assert (workload.mode, workload.warmup_s) == ("open", 0.0)
    assert np.array_equal(workload.intended_ns, SMALL.arrival_ns)
    assert workload.duration_s == SMALL.duration_s
    for id in (0, 17, 399):
        spec = workload.spec(id)
        assert (spec.prompt_tokens, spec.output_tokens) == (SMALL.input_tokens[id], SMALL.output_tokens[id])
        assert f'"max_completion_tokens":{spec.output_tokens}'.encode() in workload.body(id)
    short = one.model_copy(update={"duration_s": 10.0}).build()
    assert np.array_equal(short.intended_ns, SMALL.arrival_ns[SMALL.arrival_ns < 10**10])
    with pytest.raises(UsageError, match="its own arrivals"):
        one.model_copy(update={"rate_rps": 3.0}).build()


@pytest.mark.parametrize(("name", "rows", "seconds"), [("code", 8_819, 3435.9), ("conv", 19_366, 3501.7)])
def test_the_published_traces_are_read_whole(name: str, rows: int, seconds: float) -> None:
    trace: Trace = load_trace(find_data("azure2023", f"AzureLLMInferenceTrace_{name}.csv"))
    assert len(trace) == rows
    assert trace.arrival_ns[-1] / 1e9 == pytest.approx(seconds, abs=0.1)
    assert np.all(trace.arrival_ns % 100 == 0)
    minute = trace.select(duration_s=60)
    workload = plan(trace=minute.arrays()).build()
    assert len(workload.intended_ns) == len(minute)
    assert (workload.duration_s, workload.warmup_s) == (60.0, 0.0)
