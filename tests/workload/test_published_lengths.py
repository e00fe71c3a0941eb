"""What the shipped scenarios draw, against the figures that were published of the traffic they stand for.

Fits of Azure 2023 (Patel et al., ISCA 2024), quantiles of ServeGen's DeepSeek-R1 (arXiv 2505.09999). What the
scenario clips is clipped here: the least prompt (preamble, tools, prefix) and the longest of the trace.
"""

import numpy as np
import pytest
from numpy.typing import NDArray

from servebench.workload.scenario import load_scenario
from tests.workload.plans import plan

N = 40_000


def drawn(name: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    columns = plan(scenario=load_scenario(name), users=1).build().columns(0, N)
    return columns.prompt_tokens, columns.output_tokens


@pytest.mark.parametrize(
    ("name", "inputs", "outputs"),
    [("chat", (6.63, 0.99), (5.02, 0.86)), ("code", (7.00, 1.36), (2.79, 0.85))],
)
def test_azures_lengths_have_their_fits(
    name: str, inputs: tuple[float, float], outputs: tuple[float, float]
) -> None:
    prompt, output = drawn(name)
    for vector, (mu, sigma) in ((prompt, inputs), (output, outputs)):
        inside = (vector > vector.min()) & (vector < vector.max())
        kept = np.quantile(vector, [0.5, 0.75, 0.9])
        wanted = np.exp(mu + sigma * np.array([0.0, 0.6745, 1.2816]))
        unclipped = (wanted > vector.min()) & (wanted < vector.max())
        assert np.count_nonzero(inside) > 0.4 * N
        assert kept[unclipped] == pytest.approx(wanted[unclipped], rel=0.04)
    # in and out are nearly independent in the traces, and wholly so here
    assert abs(np.corrcoef(np.log(prompt), np.log(output))[0, 1]) < 0.02


def test_reasoning_has_deepseek_r1s_quantiles() -> None:
    """Within sampling error: of N draws the share below a p-quantile is p, give or take."""
    prompt, visible = drawn("reasoning")
    published = {0.5: (208, 792), 0.9: (2092, 3432), 0.99: (23_423, 12_607)}
    for p, (prompt_tokens, answer_tokens) in published.items():
        error = 4 * np.sqrt(p * (1 - p) / N)
        if p > 0.5:  # the preamble raises the shorter half of the prompts
            assert np.mean(prompt < prompt_tokens) == pytest.approx(p, abs=error)
        # its clients reason two thirds of the time; whole tokens: half a token about a third of them
        assert np.mean(visible < answer_tokens / 3 - 0.5) < p + error
        assert np.mean(visible < answer_tokens / 3 + 0.5) > p - error
    assert np.median(prompt) == 220  # published 208


def test_long_documents_share_their_beginnings_and_mixed_has_mooncakes_share() -> None:
    scenario = load_scenario("mixed")
    workload = plan(scenario=scenario, users=1).build()
    columns = workload.columns(0, N)
    long = columns.class_index == [cls.name for cls in scenario.classes].index("long-context")
    share = columns.prefix_tokens[long].sum() / columns.prompt_tokens[long].sum()
    assert share == pytest.approx(0.374, abs=0.02)  # Mooncake's conversations, FAST 2025
