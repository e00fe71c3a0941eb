"""Reads a collector's page as a scraper does."""

import urllib.request

from prometheus_client.parser import text_string_to_metric_families

Key = tuple[str, tuple[tuple[str, str], ...]]


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        text: str = answer.read().decode()
    return text


def values(
    page: str, *, without: tuple[str, ...] = ("run_id", "scenario", "model", "target")
) -> dict[Key, float]:
    """(sample name, its sorted labels but those) -> value."""
    return {
        (
            sample.name,
            tuple(sorted(item for item in sample.labels.items() if item[0] not in without)),
        ): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def value(page: str, name: str, **labels: str) -> float:
    return values(page)[(name, tuple(sorted(labels.items())))]
