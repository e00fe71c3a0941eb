"""GET /metrics: vLLM's names, labels and buckets, with the mock's own beside them.

Always text format 0.0.4: under OpenMetrics negotiation prometheus_client (0.23 and later) turns `vllm:x` into
`vllm_x`.
"""

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from mock_server.counts import MockCounts
from mock_server.histogram import Histogram
from servebench.catalog.prices import TICKS_PER_USD

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_LABELS = ("model_name", "engine")
_COUNTERS = {
    "vllm:prompt_tokens": "Prompt tokens that were prefilled, cached ones too.",
    "vllm:generation_tokens": "Tokens generated, reasoning included.",
    "vllm:num_preemptions": "Sequences preempted.",
    "vllm:prefix_cache_queries": "Prompt tokens looked up.",
    "vllm:prefix_cache_hits": "Prompt tokens found.",
}
_GAUGES = {
    "vllm:num_requests_running": "Sequences in the batch.",
    "vllm:num_requests_waiting": "Sequences in the queue.",
    "vllm:kv_cache_usage_perc": "KV blocks in use, 1 = all.",
    "mock_power_watts": "All-in power: half at idle, all when busy.",
    "mock_replica_up": "1, or 0 after a crash.",
}


class CountsCollector(Collector):
    """Families of one moment's counts."""

    def __init__(self, counts: MockCounts) -> None:
        self._counts = counts
        self._rows = [((row.model, str(row.index)), row) for row in counts.replicas]

    def collect(self) -> Iterator[Metric]:
        yield from self._replicas()
        rows = self._rows
        for name in rows[0][1].histograms if rows else ():
            series = [(labels, row.histograms[name]) for labels, row in rows]
            yield _histogram_family(f"vllm:{name}", f"vLLM's {name}, on the engine's clock.", series)
        late = [(labels, row.late_s) for labels, row in rows]
        yield _histogram_family(
            "mock_step_late_seconds", "Wall clock behind the engine's end of a step.", late
        )
        yield from self._whole()

    def _replicas(self) -> Iterator[Metric]:
        for name, text in _COUNTERS.items():
            counter = CounterMetricFamily(name, text, labels=_LABELS)
            for labels, row in self._rows:
                counter.add_metric(labels, row.counters[name])
            yield counter
        finished = CounterMetricFamily(
            "vllm:request_success", "Requests ended.", labels=(*_LABELS, "finished_reason")
        )
        for labels, row in self._rows:
            for reason, count in row.finished.items():
                finished.add_metric((*labels, reason), count)
        yield finished
        for name, text in _GAUGES.items():
            gauge = GaugeMetricFamily(name, text, labels=_LABELS)
            for labels, row in self._rows:
                gauge.add_metric(labels, row.gauges[name])
            yield gauge
        yield self._cache_config()

    def _cache_config(self) -> Metric:
        config = GaugeMetricFamily(
            "vllm:cache_config_info",
            "KV cache configuration.",
            labels=(*_LABELS, "block_size", "num_gpu_blocks", "enable_prefix_caching"),
        )
        for labels, row in self._rows:
            config.add_metric((*labels, str(row.block_tokens), str(row.total_blocks), "True"), 1)
        return config

    def _whole(self) -> Iterator[Metric]:
        """Of the mock as a whole."""
        counts = self._counts
        ticks = CounterMetricFamily("mock_billed_ticks", "Ticks billed; 1 USD = 10^10.", labels=("key_id",))
        for key_id, count in counts.ticks.items():
            ticks.add_metric((key_id,), count)
        yield ticks
        usd = sum(counts.ticks.values()) / TICKS_PER_USD
        yield CounterMetricFamily("mock_billed_usd", "US dollars billed.", value=usd)
        yield GaugeMetricFamily("mock_time_scale", "Engine seconds per real second.", value=counts.time_scale)
        yield CounterMetricFamily(
            "mock_clock_slipped_seconds",
            "Real seconds that the engine's clock lost, being too far behind.",
            value=counts.slipped_s,
        )
        faults = CounterMetricFamily("mock_injected_faults", "Faults injected.", labels=("kind",))
        for kind, count in counts.injected.items():
            faults.add_metric((kind,), count)
        yield faults


def _histogram_family(name: str, text: str, rows: Iterable[tuple[tuple[str, str], Histogram]]) -> Metric:
    family = HistogramMetricFamily(name, text, labels=_LABELS)
    for labels, histogram in rows:
        family.add_metric(labels, histogram.cumulative(), histogram.sum)
    return family


def metrics_page(counts: MockCounts) -> bytes:
    registry = CollectorRegistry()
    registry.register(CountsCollector(counts))
    return generate_latest(registry)
