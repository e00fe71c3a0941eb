"""The other forms of traces, and the moments of the published ones against what is published of them."""

import json

import numpy as np
import pytest

from servebench.errors import UsageError
from servebench.workload.servegen import parse_clients
from servebench.workload.traces import Trace, load_trace, parse_trace, read_trace
from tests.data_dir import find_data
from tests.workload.plans import plan

BURSTGPT = """Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45,ChatGPT,1087,230,1317,Conversation log
45,GPT-4,417,276,693,API log
118,GPT-4,500,0,500,API log
118.0,GPT-4,11,7,18,API log"""

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
        extra = [["Session ID", "Elapsed time"], *[["1722ac82", "43"]] * 5]
        rows = [[line[0], *more, *line[1:]] for line, more in zip(lines, extra, strict=True)]
        text = "\n".join(map(",".join, rows))
    trace = parse_trace(text, name="t")
    assert trace.input_tokens.tolist() == [472, 1087, 417, 11]  # a row without an answer failed there
    assert trace.output_tokens.tolist() == [18, 230, 276, 7]
    assert trace.skipped == 1
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
    ],
)
def test_what_are_no_clients_is_a_usage_error(wrong: str) -> None:
    with pytest.raises(UsageError, match=r"f\.json"):
        parse_clients(wrong, name="f.json", category="a/b")


@pytest.mark.parametrize(
    ("file", "inputs", "outputs", "gap_cv"),
    [
        ("azure2023/AzureLLMInferenceTrace_code.csv", (7.00, 1.36), (2.79, 0.85), 13),
        ("azure2023/AzureLLMInferenceTrace_conv.csv", (6.63, 0.99), (5.02, 0.86), 1.09),
        ("mooncake/conversation_trace.jsonl", (8.74, 1.20), (5.34, 1.36), None),
    ],
)
def test_published_traces_have_the_moments_published_of_them(
    file: str, inputs: tuple[float, float], outputs: tuple[float, float], gap_cv: float | None
) -> None:
    trace: Trace = load_trace(find_data(*file.split("/")))
    for vector, law in ((trace.input_tokens, inputs), (trace.output_tokens, outputs)):
        logs = np.log(vector)
        assert (logs.mean(), logs.std()) == pytest.approx(law, abs=0.01)
    gaps = np.diff(trace.arrival_ns)
    if gap_cv is not None:
        assert gaps.std() / gaps.mean() == pytest.approx(gap_cv, rel=0.05)
    else:  # three-second bins, spread: no burst of ten every third second is left
        counts = np.bincount(trace.arrival_ns // 10**9)[:-1]
        assert counts.mean() == pytest.approx(12_031 / 3540, rel=0.01)
        phases = [counts[k : 3540 - 3 + k : 3].mean() for k in range(3)]
        assert phases == pytest.approx([counts.mean()] * 3, rel=0.1)
        assert abs(np.corrcoef(trace.input_tokens, trace.output_tokens)[0, 1]) < 0.2


@pytest.mark.parametrize(
    ("category", "top_share", "bursty"),
    [("language/m-mid", 0.659, True), ("reason/deepseek-r1", 0.677, False)],
)
def test_servegens_clients_are_drawn_as_its_file_has_them(
    category: str, top_share: float, bursty: bool
) -> None:
    path = find_data("servegen", "servegen_top_clients.json")
    raw = json.loads(path.read_text(encoding="utf-8"))["categories"][category]
    assert sum(client["share"] for client in raw["clients"][:10]) == pytest.approx(top_share, abs=0.001)
    scale = 20 / raw["mean_rps"]
    trace = read_trace(f"{path}#{category}", start_s=36_000, duration_s=1200, rate_scale=scale, seed=2)
    expected = sum(sum(client["rate_series_10min"][60:62]) * 600 * scale for client in raw["clients"])
    assert len(trace) == pytest.approx(expected, rel=0.15)
    minutes = trace.arrival_ns[trace.arrival_ns < 600 * 10**9] // (5 * 10**9)
    counts = np.bincount(minutes, minlength=120)
    assert (counts.var() / counts.mean() > 2) == bursty  # its largest client's gaps have a CV of 4, or 0.8
