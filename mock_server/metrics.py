"""GET /metrics: vLLM's names, labels and buckets, with the mock's own beside them.

Always text format 0.0.4: under OpenMetrics negotiation prometheus_client (0.23 and later) turns `vllm:x` into
`vllm_x`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from mock_server.clock import EngineClock
from mock_server.histogram import Histogram
from mock_server.telemetry import Ledger, ReplicaTelemetry
from servebench.catalog.prices import TICKS_PER_USD

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_LABELS = ("model_name", "engine")
Readings = tuple[tuple[str, str, Callable[[ReplicaTelemetry], float]], ...]  # name, help, how to read it
Row = tuple[tuple[str, str], ReplicaTelemetry]  # ((model_name, engine), counts)


class MockCollector(Collector):
    """Families made at scrape time from the counts of all replicas."""

    def __init__(
        self,
        replicas: Mapping[str, Sequence[ReplicaTelemetry]],
        ledger: Ledger,
        clock: EngineClock,
        injected: Mapping[str, int],
    ) -> None:
        self._rows: list[Row] = [
            ((model, str(index)), telemetry)
            for model, fleet in replicas.items()
            for index, telemetry in enumerate(fleet)
        ]
        self._ledger = ledger
        self._clock = clock
        self._injected = injected

    def collect(self) -> Iterator[Metric]:
        for _, telemetry in self._rows:
            telemetry.settle()
        yield from self._counters()
        yield from self._gauges()
        for name in self._rows[0][1].histograms if self._rows else ():
            rows = [(labels, telemetry.histograms[name]) for labels, telemetry in self._rows]
            yield _histogram_family(f"vllm:{name}", f"vLLM's {name}, on the engine's clock.", rows)
        late = [(labels, telemetry.late_s) for labels, telemetry in self._rows]
        yield _histogram_family(
            "mock_step_late_seconds", "Wall clock behind the engine's end of a step.", late
        )
        yield from self._bill()
        scale = GaugeMetricFamily("mock_time_scale", "Engine seconds per real second.")
        scale.add_metric((), self._clock.scale)
        yield scale
        slipped = CounterMetricFamily(
            "mock_clock_slipped_seconds", "Real seconds that the engine's clock lost, being too far behind."
        )
        slipped.add_metric((), self._clock.slipped_s)
        yield slipped
        faults = CounterMetricFamily("mock_injected_faults", "Faults injected.", labels=("kind",))
        for kind, count in self._injected.items():
            faults.add_metric((kind,), count)
        yield faults

    def _counters(self) -> Iterator[Metric]:
        counts: Readings = (
            ("prompt_tokens", "Prompt tokens of finished requests.", lambda t: t.prompt_tokens),
            ("generation_tokens", "Tokens generated, reasoning included.", lambda t: t.generation_tokens),
            ("num_preemptions", "Sequences preempted.", lambda t: t.replica.preemptions),
            ("prefix_cache_queries", "Prompt tokens looked up.", lambda t: t.replica.prefix_query_tokens),
            ("prefix_cache_hits", "Prompt tokens found.", lambda t: t.replica.prefix_hit_tokens),
        )
        for name, text, read in counts:
            family = CounterMetricFamily(f"vllm:{name}", text, labels=_LABELS)
            for labels, telemetry in self._rows:
                family.add_metric(labels, read(telemetry))
            yield family
        finished = CounterMetricFamily(
            "vllm:request_success", "Requests ended.", labels=(*_LABELS, "finished_reason")
        )
        for labels, telemetry in self._rows:
            for reason, count in telemetry.finished.items():
                finished.add_metric((*labels, reason), count)
        yield finished

    def _gauges(self) -> Iterator[Metric]:
        gauges: Readings = (
            ("vllm:num_requests_running", "Sequences in the batch.", lambda t: t.replica.running_count),
            ("vllm:num_requests_waiting", "Sequences in the queue.", lambda t: t.replica.waiting_count),
            ("vllm:kv_cache_usage_perc", "KV blocks in use, 1 = all.", lambda t: t.replica.kv_usage),
            ("mock_power_watts", "All-in power: half at idle, all when busy.", lambda t: t.power_watts),
            ("mock_replica_up", "1, or 0 after a crash.", lambda t: float(t.is_up)),
        )
        for name, text, read in gauges:
            family = GaugeMetricFamily(name, text, labels=_LABELS)
            for labels, telemetry in self._rows:
                family.add_metric(labels, read(telemetry))
            yield family
        config = GaugeMetricFamily(
            "vllm:cache_config_info",
            "KV cache configuration.",
            labels=(*_LABELS, "block_size", "num_gpu_blocks", "enable_prefix_caching"),
        )
        for labels, telemetry in self._rows:
            cache = telemetry.replica.cache
            config.add_metric((*labels, str(cache.block_tokens), str(cache.total_blocks), "True"), 1)
        yield config

    def _bill(self) -> Iterator[Metric]:
        ticks = CounterMetricFamily("mock_billed_ticks", "Ticks billed; 1 USD = 10^10.", labels=("key_id",))
        for key_id, count in self._ledger.ticks.items():
            ticks.add_metric((key_id,), count)
        yield ticks
        usd = CounterMetricFamily("mock_billed_usd", "US dollars billed.")
        usd.add_metric((), sum(self._ledger.ticks.values()) / TICKS_PER_USD)
        yield usd


def _histogram_family(name: str, text: str, rows: Iterable[tuple[tuple[str, str], Histogram]]) -> Metric:
    family = HistogramMetricFamily(name, text, labels=_LABELS)
    for labels, histogram in rows:
        family.add_metric(labels, histogram.cumulative(), histogram.sum)
    return family


class MetricsPage:
    def __init__(
        self,
        replicas: Mapping[str, Sequence[ReplicaTelemetry]],
        ledger: Ledger,
        clock: EngineClock,
        injected: Mapping[str, int],
    ) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(MockCollector(replicas, ledger, clock, injected))

    def render(self) -> bytes:
        return generate_latest(self._registry)
