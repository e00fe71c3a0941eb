"""Telemetry: counts of a replica and of the bill, added to per step and per request, never per token."""

import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from hashlib import sha256

from mock_server.histogram import Histogram, vllm_histograms
from mock_server.realtime import StepReport
from mock_server.reply import Reply
from servebench.engine.replica import Replica

FINISHED_REASONS = ("stop", "length", "abort", "error")  # vLLM's words
_VLLM_REASON = {"stop": "stop", "length": "length", "tool_calls": "stop"}
_LATE_S = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)
MAX_KEY_IDS = 1000
_COUNTED_TOGETHER = 256
_LONG_PROMPT_KEYS = 256  # a reply to a longer prompt is not kept: a million tokens' keys are half a megabyte


class ReplicaTelemetry:
    """One replica's series; its queues, KV use, preemptions and prefix cache are read off it when scraped."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.histograms: Mapping[str, Histogram] = vllm_histograms(replica.tier.context_length_tokens)
        self.late_s = Histogram(_LATE_S)  # wall clock behind the engine's end of a step
        self.prompt_tokens = 0
        self.generation_tokens = 0
        self.finished = dict.fromkeys(FINISHED_REASONS, 0)
        self.read_power_watts: Callable[[], float] = lambda: 0.0  # set by who runs it
        self.after_step: Callable[[], None] | None = None
        self._ended: list[Reply] = []
        self.up_at_s = 0.0  # of time.monotonic(): later than now while it is down

    @property
    def power_watts(self) -> float:
        return self.read_power_watts()

    @property
    def is_up(self) -> bool:
        return self.up_at_s <= time.monotonic()

    def step(self, report: StepReport) -> None:
        self.generation_tokens += report.tokens
        self.late_s.add(report.late_s)
        step = report.step
        self.histograms["iteration_tokens_total"].add(step.batch.prefill_tokens + report.tokens)
        for sequence, _ in step.batch.chunks:
            if sequence.first_token_s == step.end_s:  # as vLLM does: when it comes, whatever becomes of it
                self.prompt_tokens += sequence.prompt_tokens
                self.histograms["time_to_first_token_seconds"].add(step.end_s - sequence.arrival_s)
        gaps = self.histograms["inter_token_latency_seconds"]
        if report.usual_gaps:
            gaps.add(report.gap_s, report.usual_gaps)
        for gap_s in report.odd_gaps_s:
            gaps.add(gap_s)
        if self.after_step is not None:
            self.after_step()

    def abort(self) -> None:
        self.finished["abort"] += 1

    def finish(self, reply: Reply) -> None:
        """A request whose last token has been made. Counted when the counts are read, or many together."""
        self._ended.append(reply)
        if len(self._ended) >= _COUNTED_TOGETHER or len(reply.admitted.block_keys) > _LONG_PROMPT_KEYS:
            self.settle()

    def settle(self) -> None:
        """Counts what has ended: to be called before the series are read."""
        ended, self._ended = self._ended, []
        for reply in ended:
            self._count(reply)

    def _count(self, reply: Reply) -> None:
        """Each of its choices is a sequence of its own."""
        for index in range(len(reply.sequences)):
            self._finish_choice(reply, index)
        series = self.histograms
        series["request_params_n"].add(len(reply.sequences))
        most = max(answer.total_tokens for answer in reply.admitted.answers)
        series["request_max_num_generation_tokens"].add(most)
        if reply.admitted.chat.max_visible_tokens is not None:
            series["request_params_max_tokens"].add(reply.admitted.chat.max_visible_tokens)

    def _finish_choice(self, reply: Reply, index: int) -> None:
        sequence, answer, series = reply.sequences[index], reply.admitted.answers[index], self.histograms
        arrival_s, admitted_s, first_s, last_s = (
            sequence.arrival_s, sequence.admitted_s, sequence.first_token_s, sequence.finished_s,
        )  # fmt: skip
        assert admitted_s is not None
        assert first_s is not None
        assert last_s is not None
        self.finished[_VLLM_REASON[answer.finish_reason]] += 1
        tokens = answer.total_tokens
        series["e2e_request_latency_seconds"].add(last_s - arrival_s)
        series["request_queue_time_seconds"].add(admitted_s - arrival_s)
        series["request_prefill_time_seconds"].add(first_s - admitted_s)
        series["request_decode_time_seconds"].add(last_s - first_s)
        series["request_inference_time_seconds"].add(last_s - admitted_s)
        if tokens > 1:
            series["request_time_per_output_token_seconds"].add((last_s - first_s) / (tokens - 1))
        series["request_prompt_tokens"].add(reply.admitted.prompt_tokens)
        series["request_generation_tokens"].add(tokens)


@lru_cache(maxsize=4096)
def key_id_of(key: str) -> str:
    """8 hex digits of the key's SHA-256."""
    return sha256(key.encode()).hexdigest()[:8]


class Ledger:
    """Ticks billed by key id; past MAX_KEY_IDS they share "_other"."""

    def __init__(self) -> None:
        self.ticks: dict[str, int] = {}
        self._ids: dict[str, str] = {}

    def add(self, key: str, ticks: int) -> None:
        key_id = self._ids.get(key)
        if key_id is None:
            key_id = key_id_of(key)
            if len(self._ids) >= MAX_KEY_IDS:
                key_id = "_other"
            else:
                self._ids[key] = key_id
        self.ticks[key_id] = self.ticks.get(key_id, 0) + ticks
