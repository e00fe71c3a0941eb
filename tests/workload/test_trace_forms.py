"""The other forms of traces: what is read of their rows, and client profiles drawn."""

import json

import numpy as np
import pytest

from servebench.errors import UsageError
from servebench.workload.servegen import parse_clients
from servebench.workload.traces import parse_trace, read_trace
from tests.workload.plans import plan

BURSTGPT = """Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45,ChatGPT,1087,230,1317,Conversation log
45,GPT-4,417,276,693,API log
118,GPT-4,500,0,500,API log
118.0,GPT-4,11,7,18,API log
120,ChatGPT,0,0,0,API log"""

CLIENTS = {
    "source": "made for this test",
    "quantiles": [0.01, 0.5, 0.99],
    "categories": {
        "a/b": {
            "clients": [
                {
                    "client": "7",
                    "cv_median": 2.0,
                    "lengths": {"input_tokens": {"q": [10, 100, 1000]}, "output_tokens": {"q": [1, 50, 50]}},
                    "rate_series_10min": [10.0, 0.0, 40.0],
                },
                {
                    "client": "8",
                    "cv_median": 0.8,
                    "lengths": {
                        "text_tokens": {"q": [5, 5, 5]},
                        "image_tokens": {"q": [300, 300, 300]},
                        "output_tokens": {"q": [9, 9, 9]},
                    },
                    "rate_series_10min": [1.0, 1.0],
                },
            ]
        }
    },
}


def test_azure_2024_says_its_zone_and_drops_zeros() -> None:
    text = (
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10 00:00:00.009930+00:00,2162,5\n"
        "2024-05-10 00:00:01+00:00,2399,6\n2024-05-10 02:00:01.5+02:00,76,15"
    )
    trace = parse_trace(text, name="t")
    assert trace.arrival_ns.tolist() == [0, 990_070_000, 1_490_070_000]


@pytest.mark.parametrize("extended", [False, True])
def test_burstgpt_is_read_with_and_without_its_sessions(extended: bool) -> None:
    text = BURSTGPT
    if extended:
        lines = [line.split(",") for line in text.splitlines()]
        extra = [["Session ID", "Elapsed time"], *[["1722ac82", "43"]] * 6]
        rows = [[line[0], *more, *line[1:]] for line, more in zip(lines, extra, strict=True)]
        text = "\n".join(map(",".join, rows))
    trace = parse_trace(text, name="t")
    assert trace.input_tokens.tolist() == [472, 1087, 417, 11]  # a row without an answer failed there
    assert trace.output_tokens.tolist() == [18, 230, 276, 7]
    assert trace.skipped == 2
    assert "2 rows of t failed" in plan(trace=trace.arrays()).build().notes[-1]
    # whole seconds, some twice: spread inside their second
    assert np.all(trace.arrival_ns // 10**9 - np.array([0, 40, 40, 113]) == 0)
    assert len(np.unique(trace.arrival_ns % 10**9)) == 4


def test_bailian_has_blocks_of_sixteen_and_seconds() -> None:
    head = {"parent_chat_id": -1, "type": "text", "turn": 1}
    rows = [
        {
            "chat_id": 1,
            "timestamp": 0.25,
            "input_length": 40,
            "output_length": 3,
            "hash_ids": [4, 5, 6],
            **head,
        },
        {"chat_id": 2, "timestamp": 1.5, "input_length": 400, "output_length": 0, "hash_ids": [4], **head},
        {"chat_id": 3, "timestamp": 2.5, "input_length": 47, "output_length": 9, "hash_ids": [4, 5], **head},
    ]
    trace = parse_trace("\n".join(map(json.dumps, rows)), name="t")
    assert trace.arrival_ns.tolist() == [0, 2_250_000_000]
    assert trace.blocks is not None
    assert trace.blocks.block_tokens == 16
    assert trace.blocks.of(0) == (4, 5, 6)
    assert trace.blocks.of(1)[:2] == (4, 5)
    assert trace.blocks.of(1)[2] > 6
    assert trace.blocks.hit_share(trace.input_tokens) == pytest.approx(32 / 87)
    assert trace.skipped == 1


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ({"timestamp": 0, "input_length": 5, "output_length": 5}, "hash_ids must be a list"),
        (
            {"timestamp": 0, "input_length": 5, "output_length": 5, "hash_ids": [-1]},
            "hash_ids must be a list",
        ),
        ({"timestamp": "x", "input_length": 5, "output_length": 5, "hash_ids": []}, "number of seconds"),
        ({"timestamp": 0, "input_length": 5, "hash_ids": []}, "output_length is missing"),
        (
            {"timestamp": 10**400, "input_length": 5, "output_length": 5, "hash_ids": []},
            "number of milliseconds",
        ),
    ],
)
def test_wrong_rows_of_other_forms_are_told(line: dict[str, object], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        parse_trace(json.dumps(line), name="t")


def test_clients_are_drawn_with_their_rates_gaps_and_lengths() -> None:
    clients = parse_clients(json.dumps(CLIENTS), name="f.json", category="a/b")
    starts, inputs, outputs, duration_s = clients.draw(start_s=0, duration_s=None, rate_scale=1, seed=3)
    assert duration_s == 1800
    big = inputs != 305
    seen = np.bincount(starts[big] // (600 * 10**9), minlength=3)
    assert seen == pytest.approx([6000, 0, 24_000], abs=4 * 2 * 24_000**0.5)
    assert np.bincount(starts[~big] // (600 * 10**9), minlength=3) == pytest.approx([600, 600, 0], abs=100)
    gaps = np.diff(starts[big & (starts > 1200 * 10**9)])
    assert gaps.std() / gaps.mean() == pytest.approx(2, rel=0.1)
    assert np.quantile(inputs[big], [0.01, 0.5, 0.99]) == pytest.approx([10, 100, 1000], rel=0.1)
    assert np.median(outputs[~big]) == 9
    later = clients.draw(start_s=1200, duration_s=60, rate_scale=0.5, seed=3)
    assert len(later[0]) == pytest.approx(1200, abs=4 * 2 * 1200**0.5)
    assert later[0][-1] < 60 * 10**9


def test_clients_in_a_file_become_a_trace(tmp_path: object) -> None:
    path = f"{tmp_path}/clients.json"
    with open(path, "w", encoding="utf-8") as file:
        json.dump(CLIENTS, file)
    trace = read_trace(f"{path}#a/b", duration_s=100, seed=1)
    workload = plan(trace=trace.arrays()).build()
    assert len(workload.intended_ns) == len(trace) > 500
    with pytest.raises(UsageError, match=r"name one of its categories as clients.json#a/b"):
        read_trace(path)
    with pytest.raises(UsageError, match="nothing from 9000 s"):
        read_trace(f"{path}#a/b", start_s=9000)


@pytest.mark.parametrize(
    "wrong",
    [
        "[]",
        "{",
        json.dumps({**CLIENTS, "categories": {}}),
        json.dumps(CLIENTS).replace('"q": [1, 50, 50]', '"q": [1, 50]'),
        json.dumps(CLIENTS).replace('"cv_median": 2.0', '"cv_median": 0'),
        json.dumps(CLIENTS).replace("[10.0, 0.0, 40.0]", "[10.0, -1.0, 40.0]"),
        json.dumps(CLIENTS).replace("[0.01, 0.5, 0.99]", "[0.5, 0.01, 0.99]"),
        json.dumps(CLIENTS).replace('"input_tokens"', '"reason_ratio"'),
    ],
)
def test_what_are_no_clients_is_a_usage_error(wrong: str) -> None:
    with pytest.raises(UsageError, match=r"f\.json"):
        parse_clients(wrong, name="f.json", category="a/b")
