"""Real traces against the figures that are known of them, each read whole from its file.

published: by the trace's authors. counted: by others, from the published file (looked up 2026-11-28); two
parties agree on rows and means of Azure 2024, on rows of BurstGPT and Qwen-Bailian. Files are looked for in
the folder that SERVEBENCH_TRACES names; what is absent is skipped (the table is in docs/SCENARIOS.md).
"""

import json
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from servebench.workload.moments import gap_cv
from servebench.workload.traces import load_trace, read_trace
from tests.data_dir import find_data, find_trace

AZURE_2023 = "https://github.com/Azure/AzurePublicDataset/tree/master/data"
AZURE_2024 = "https://github.com/Azure/AzurePublicDataset/releases/tag/dataset-llm-2024"
MOONCAKE = "https://github.com/kvcache-ai/Mooncake/tree/main/FAST25-release/traces"
BURSTGPT = "https://github.com/HPMLL/BurstGPT/releases"
BAILIAN = "https://github.com/alibaba-edu/qwen-bailian-usagetraces-anon"


@dataclass(frozen=True)
class Known:
    """rows of the file, failed ones of them; lengths: (input, output) by statistic, to within rel, or half a
    token; tokens: the sum of both; hit_share to within hit_error.
    """

    file: str
    url: str
    rows: int
    failed: int | None = 0
    data: str | None = None
    rows_error: int = 0
    lengths: dict[str, tuple[float, float]] = field(default_factory=dict)
    rel: float = 0.0
    tokens: int | None = None
    hit_share: float | None = None
    hit_error: float = 0.0


KNOWN = [
    # published: Patel et al., Splitwise, ISCA 2024, section III (of the trace that this samples)
    Known(
        "AzureLLMInferenceTrace_code.csv", AZURE_2023, 8_819, data="azure2023",
        lengths={"p50": (1500, 13)}, rel=0.025,
    ),
    Known(
        "AzureLLMInferenceTrace_conv.csv", AZURE_2023, 19_366, data="azure2023", lengths={"p50": (1020, 129)}
    ),
    # published: Qin et al., Mooncake, FAST 2025, table 2; it does not say how its cache ratio is counted
    Known(
        "conversation_trace.jsonl", MOONCAKE, 12_031, data="mooncake",
        lengths={"mean": (12_035, 343)}, hit_share=0.40, hit_error=0.03,
    ),
    Known(
        "synthetic_trace.jsonl", MOONCAKE, 3_993, data="mooncake",
        lengths={"mean": (15_325, 149)}, hit_share=0.66, hit_error=0.02,
    ),
    Known(
        "toolagent_trace.jsonl", MOONCAKE, 23_608,
        lengths={"mean": (8_596, 182)}, hit_share=0.59, hit_error=0.05,
    ),
    # rows published: Azure's own notebook (analysis/AzureLLMInferenceDataset2024.ipynb); the rest counted
    Known(
        "AzureLLMInferenceTrace_code_1week.csv", AZURE_2024, 16_803_695, tokens=42_579_982_075, rel=0.01,
        lengths={"mean": (2511, 23), "p50": (1930, 8), "p99": (7685, 271)},
    ),
    Known(
        "AzureLLMInferenceTrace_conv_1week.csv", AZURE_2024, 27_303_999, tokens=47_429_468_868, rel=0.01,
        lengths={"mean": (1632, 106), "p50": (928, 41), "p99": (6683, 694)},
    ),
    # published to a hundred rows: BurstGPT's README; to the row and the medians counted
    Known(
        "BurstGPT_1.csv", BURSTGPT, 1_429_737, failed=25_443, lengths={"p50": (262, 36)}
    ),
    Known("BurstGPT_without_fails_1.csv", BURSTGPT, 1_404_294, lengths={"p50": (262, 36)}),
    Known("BurstGPT_2.csv", BURSTGPT, 3_858_400, failed=None, rows_error=50),
    Known("BurstGPT_without_fails_2.csv", BURSTGPT, 3_784_213),
    Known("BurstGPT_3.csv", BURSTGPT, 5_344_021, failed=5_344_021 - 4_956_058),
    # hit shares published of A and B: Wang et al., ATC 2025, 0.62 and 0.54; all here counted in blocks of 16
    Known(
        "qwen_traceA_blksz_16.jsonl", BAILIAN, 43_058, failed=None, rel=0.01, hit_share=0.579, hit_error=0.02,
        lengths={"mean": (2331, 430), "p50": (1046, 375), "p99": (14_359, 1641)},
    ),
    Known(
        "qwen_traceB_blksz_16.jsonl", BAILIAN, 172_800, failed=None, rel=0.01,
        hit_share=0.542, hit_error=0.02,
        lengths={"mean": (915, 92), "p50": (574, 39), "p99": (6294, 1006)},
    ),
    Known(
        "qwen_coder_blksz_16.jsonl", BAILIAN, 43_011, failed=None, rel=0.01, hit_share=0.664, hit_error=0.02,
        lengths={"mean": (5748, 808), "p50": (4540, 469), "p99": (14_406, 5835)},
    ),
    Known(
        "qwen_thinking_blksz_16.jsonl", BAILIAN, 10_812, failed=None, rel=0.01,
        hit_share=0.462, hit_error=0.02,
        lengths={"mean": (4763, 3651), "p50": (3680, 1665), "p99": (24_962, 34_529)},
    ),
]  # fmt: skip


def statistic(name: str, tokens: NDArray[np.int64]) -> float:
    """mean, or p with a percentage."""
    return float(tokens.mean() if name == "mean" else np.quantile(tokens, float(name[1:]) / 100))


@pytest.mark.timeout(3600)  # tens of millions of rows, where they are there
@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.file)
def test_a_trace_has_the_moments_that_are_known_of_it(known: Known) -> None:
    trace = load_trace(find_trace(known.file, known.url, data=known.data))
    assert len(trace) + trace.skipped == pytest.approx(known.rows, abs=known.rows_error)
    if known.failed is not None:
        assert trace.skipped == known.failed
    for name, wanted in known.lengths.items():
        found = [statistic(name, tokens) for tokens in (trace.input_tokens, trace.output_tokens)]
        assert found == pytest.approx(wanted, rel=known.rel, abs=0.5), name
    if known.tokens is not None:
        assert int(trace.input_tokens.sum() + trace.output_tokens.sum()) == known.tokens
    if known.hit_share is not None:
        assert trace.blocks is not None
        share = trace.blocks.hit_share(trace.input_tokens)
        assert share == pytest.approx(known.hit_share, abs=known.hit_error)


@pytest.mark.parametrize(
    ("file", "url", "data", "inputs", "outputs", "cv"),
    [
        ("AzureLLMInferenceTrace_code.csv", AZURE_2023, "azure2023", (7.00, 1.36), (2.79, 0.85), 13),
        ("AzureLLMInferenceTrace_conv.csv", AZURE_2023, "azure2023", (6.63, 0.99), (5.02, 0.86), 1.09),
        ("conversation_trace.jsonl", MOONCAKE, "mooncake", (8.74, 1.20), (5.34, 1.36), None),
    ],
)
def test_the_fits_that_are_quoted_are_those_of_the_traces(
    file: str,
    url: str,
    data: str,
    inputs: tuple[float, float],
    outputs: tuple[float, float],
    cv: float | None,
) -> None:
    trace = load_trace(find_trace(file, url, data=data))
    for vector, law in ((trace.input_tokens, inputs), (trace.output_tokens, outputs)):
        logs = np.log(vector)
        assert (logs.mean(), logs.std()) == pytest.approx(law, abs=0.01)
    assert abs(np.corrcoef(trace.input_tokens, trace.output_tokens)[0, 1]) < 0.2
    if cv is not None:
        assert gap_cv(trace.arrival_ns) == pytest.approx(cv, rel=0.05)
        return
    # three-second bins, spread: no burst of ten every third second is left
    counts = np.bincount(trace.arrival_ns // 10**9)[:-1]
    assert counts.mean() == pytest.approx(12_031 / 3540, rel=0.01)
    phases = [counts[k : 3540 - 3 + k : 3].mean() for k in range(3)]
    assert phases == pytest.approx([counts.mean()] * 3, rel=0.1)


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


def test_clients_are_as_bursty_as_is_published() -> None:
    """ServeGen (arXiv 2505.09999): CV of a client's gaps, p50 1.2 and p90 6.2; here its largest clients."""
    file = json.loads(find_data("servegen", "servegen_top_clients.json").read_text(encoding="utf-8"))
    cvs = [client["cv_median"] for one in file["categories"].values() for client in one["clients"]]
    assert np.quantile(cvs, [0.5, 0.9]) == pytest.approx([1.2, 6.2], rel=0.1)
    shares = [sum(c["share"] for c in one["clients"][:10]) for one in file["categories"].values()]
    assert (min(shares), max(shares)) == pytest.approx((0.40, 0.83), abs=0.005)
