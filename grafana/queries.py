"""PromQL over the series of the chosen run."""

RUN = 'run_id="$run_id", scenario=~"$scenario", model=~"$model", target=~"$target"'
ENDED_WELL, FAILED = 'outcome="success"', 'outcome!="success"'
EVERY_LIMIT = 'slo="all"'
GENERATED = 'type=~"output|reasoning"'
QUANTILES = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))


def series(metric: str, *matchers: str) -> str:
    """The run's series of one metric."""
    return f"servebench_{metric}{{{', '.join([RUN, *matchers])}}}"


def rate(metric: str, *matchers: str, by: str = "") -> str:
    return f"sum{_by(by)} (rate({series(metric, *matchers)}[$__rate_interval]))"


def total(metric: str, *matchers: str, by: str = "") -> str:
    """The whole run so far."""
    return f"sum{_by(by)} (max_over_time({series(metric, *matchers)}[$__range]))"


def quantile(q: float, metric: str) -> str:
    return f"histogram_quantile({q}, {rate(f'{metric}_seconds_bucket', by='le')})"


def quantile_of_run(q: float, metric: str) -> str:
    return f"histogram_quantile({q}, {total(f'{metric}_seconds_bucket', by='le')})"


def _by(labels: str) -> str:
    return f" by ({labels})" if labels else ""
