"""Counts: what /metrics shows, as values that go from one process to another and add up."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mock_server.histogram import Histogram
from mock_server.telemetry import ReplicaTelemetry


@dataclass(frozen=True, slots=True)
class ReplicaCounts:
    """One replica at one moment. counters and gauges by metric name, without the _total of counters."""

    model: str
    index: int
    counters: Mapping[str, float]
    gauges: Mapping[str, float]
    finished: Mapping[str, int]
    histograms: Mapping[str, Histogram]
    late_s: Histogram
    block_tokens: int
    total_blocks: int


@dataclass(frozen=True, slots=True)
class MockCounts:
    """A process's replicas, or a whole mock's."""

    replicas: Sequence[ReplicaCounts]
    ticks: Mapping[str, int]  # billed, by key id
    injected: Mapping[str, int]  # faults, by kind
    time_scale: float
    slipped_s: float  # the most that a process's clock lost


def replica_counts_of(model: str, index: int, telemetry: ReplicaTelemetry) -> ReplicaCounts:
    telemetry.settle()
    replica = telemetry.replica
    return ReplicaCounts(
        model=model,
        index=index,
        counters={
            "vllm:prompt_tokens": telemetry.prompt_tokens,
            "vllm:generation_tokens": telemetry.generation_tokens,
            "vllm:num_preemptions": replica.preemptions,
            "vllm:prefix_cache_queries": replica.prefix_query_tokens,
            "vllm:prefix_cache_hits": replica.prefix_hit_tokens,
        },
        gauges={
            "vllm:num_requests_running": replica.running_count,
            "vllm:num_requests_waiting": replica.waiting_count,
            "vllm:kv_cache_usage_perc": replica.kv_usage,
            "mock_power_watts": telemetry.power_watts,
            "mock_replica_up": float(telemetry.is_up),
        },
        finished=telemetry.finished,
        histograms=telemetry.histograms,
        late_s=telemetry.late_s,
        block_tokens=replica.cache.block_tokens,
        total_blocks=replica.cache.total_blocks,
    )


def added(parts: Iterable[MockCounts]) -> MockCounts:
    """Each replica stands in one part only; bills and faults are sums."""
    parts = list(parts)
    ticks: Counter[str] = Counter()
    injected: Counter[str] = Counter()
    for part in parts:
        ticks.update(part.ticks)
        injected.update(part.injected)
    return MockCounts(
        replicas=sorted((row for part in parts for row in part.replicas), key=lambda row: row.index),
        ticks=ticks,
        injected={kind: injected[kind] for kind in parts[0].injected},
        time_scale=parts[0].time_scale,
        slipped_s=max(part.slipped_s for part in parts),
    )
