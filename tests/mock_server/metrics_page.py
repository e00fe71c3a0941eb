"""GET /metrics, parsed."""

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.mock_server.raw_http import ask


def families(url: str) -> dict[str, Metric]:
    status, headers, body = ask(
        url, "/metrics", method="GET", headers={"Accept": "application/openmetrics-text"}
    )
    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    return {family.name: family for family in text_string_to_metric_families(body.decode())}


def total(url: str, sample_name: str, **labels: str) -> float:
    """The sum of the samples of that name with those labels."""
    return sum(
        sample.value
        for family in families(url).values()
        for sample in family.samples
        if sample.name == sample_name and labels.items() <= sample.labels.items()
    )
