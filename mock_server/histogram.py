"""Histogram: bucket counts that take many equal observations at once, as one step makes for a whole batch."""

from bisect import bisect_left
from collections.abc import Sequence


class Histogram:
    """edges: upper bounds, ascending, inclusive (Prometheus' le); one bucket more for what is above them."""

    __slots__ = ("counts", "edges", "sum")

    def __init__(self, edges: Sequence[float]) -> None:
        self.edges = edges
        self.counts = [0] * (len(edges) + 1)
        self.sum = 0.0

    def add(self, value: float, times: int = 1) -> None:
        self.counts[bisect_left(self.edges, value)] += times
        self.sum += value * times

    def cumulative(self) -> list[tuple[str, float]]:
        """(le, count at or below) pairs, "+Inf" last."""
        total, rows = 0, []
        for edge, count in zip([*self.edges, None], self.counts, strict=True):
            total += count
            rows.append(("+Inf" if edge is None else str(float(edge)), float(total)))
        return rows


_STAGE_S = (0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680)
_TTFT_S = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160,
    640, 2560,
)  # fmt: skip
_ITL_S = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80)
_STEP_TOKENS = (1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)


def one_two_five(limit: int) -> tuple[int, ...]:
    """1, 2, 5, 10, 20, ... up to limit."""
    edges, decade = [], 1
    while decade <= limit:
        edges += [step * decade for step in (1, 2, 5) if step * decade <= limit]
        decade *= 10
    return tuple(edges)


def vllm_histograms(context_tokens: int) -> dict[str, Histogram]:
    """vLLM's histograms by name (without the prefix "vllm:"), in its buckets."""
    tokens = one_two_five(context_tokens)
    edges: dict[str, Sequence[float]] = {
        "time_to_first_token_seconds": _TTFT_S,
        "inter_token_latency_seconds": _ITL_S,
        "request_time_per_output_token_seconds": _ITL_S,
        "e2e_request_latency_seconds": _STAGE_S,
        "request_queue_time_seconds": _STAGE_S,
        "request_prefill_time_seconds": _STAGE_S,
        "request_decode_time_seconds": _STAGE_S,
        "request_inference_time_seconds": _STAGE_S,
        "request_prompt_tokens": tokens,
        "request_generation_tokens": tokens,
        "request_max_num_generation_tokens": tokens,
        "request_params_max_tokens": tokens,
        "request_params_n": (1, 2, 5, 10, 20),
        "iteration_tokens_total": _STEP_TOKENS,
    }
    return {name: Histogram(bounds) for name, bounds in edges.items()}
