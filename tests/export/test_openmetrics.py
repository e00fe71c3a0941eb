"""metrics.om: the run's own figures, in a file that Prometheus takes."""

import math
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from servebench.export.metric_names import METRICS
from servebench.export.openmetrics import MAX_POINTS, openmetrics, write_openmetrics
from servebench.results.parts import gather_parts
from servebench.results.run_directory import read_run
from servebench.results.summary import Summary, summarise_run
from tests.results import made_run

T0 = "2026-11-24T08:00:00+00:00"


def made_dir(run_dir: Path, n: int = 600, **manifest: Any) -> Path:
    facts: dict[str, Any] = {
        "t0_utc": T0,
        "slo": ["ttft p99 < 333ms"],
        "versions": {"servebench": "0.1.0"},
    }
    made_run.write(run_dir, made_run.make(n, failed_share=0.03), **{**facts, **manifest})
    gather_parts(run_dir)
    return run_dir


def samples_of(text: str) -> list[Sample]:
    families = text_string_to_metric_families(text)  # type: ignore[no-untyped-call] # the package has no types
    return [sample for family in families for sample in family.samples]


def last(samples: list[Sample], name: str, **labels: str) -> float:
    found = [
        sample for sample in samples if sample.name == name and labels.items() <= dict(sample.labels).items()
    ]
    return float(found[-1].value)


def by_label(samples: list[Sample], name: str, label: str) -> Mapping[str, float]:
    return {
        sample.labels[label]: sample.value for sample in samples if sample.name == name
    }  # the last one wins


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_dir(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def summary(run_dir: Path) -> Summary:
    return summarise_run(read_run(run_dir))


@pytest.fixture(scope="module")
def samples(run_dir: Path) -> list[Sample]:
    return samples_of(openmetrics(read_run(run_dir)))


def test_the_last_instant_is_the_summary(samples: list[Sample], summary: Summary) -> None:
    everything = summary.classes["all"]
    assert by_label(samples, "servebench_requests_total", "outcome") == everything.outcomes
    tokens = {
        kind: last(samples, "servebench_tokens_total", type=kind, source="usage")
        for kind in everything.tokens
    }
    assert tokens == everything.tokens
    dollars = sum(by_label(samples, "servebench_cost_usd_total", "component").values())
    assert dollars == pytest.approx(float(everything.cost.usd or 0), abs=1e-9)
    gate = summary.gates[0]
    assert last(samples, "servebench_slo_offered_total", slo=gate.slo.text) == gate.n
    assert last(samples, "servebench_slo_good_total", slo=gate.slo.text) == gate.n - gate.over
    # the SLO's limit is an edge, so the bucket gives the same count as the records
    assert last(samples, "servebench_ttft_seconds_bucket", le="0.333") == gate.n - gate.over
    assert last(samples, "servebench_itl_seconds_count") == everything.latency_s["itl"].n
    assert last(samples, "servebench_requests_in_flight") == 0


def test_every_name_of_the_endpoint_is_there(samples: list[Sample]) -> None:
    names = {sample.name for sample in samples}
    missing = {name for metric in METRICS for name in metric.series_names} - names
    assert missing == set()


def test_counters_only_grow_and_time_goes_on(samples: list[Sample]) -> None:
    series: dict[tuple[str, ...], list[Sample]] = {}
    for sample in samples:
        series.setdefault((sample.name, *map(str, sorted(sample.labels.items()))), []).append(sample)
    for (name, *_), points in series.items():
        times = [float(point.timestamp or 0) for point in points]
        assert times == sorted(set(times))
        assert times[0] == pytest.approx(1795507200.0)
        if name.endswith(("_total", "_bucket", "_count")):
            values = [point.value for point in points]
            assert values == sorted(values)


def test_prometheus_takes_the_file(run_dir: Path, tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian package prometheus)")
    path = write_openmetrics(run_dir)
    assert path.name == "metrics.om"
    command = [promtool, "tsdb", "create-blocks-from", "openmetrics", str(path), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # its table: ULID, min and max time, duration, samples, chunks, series, size
    counts = [line.split() for line in done.stdout.splitlines()[1:]]
    text = path.read_text()
    assert sum(int(row[4]) for row in counts) == len(samples_of(text))


def test_a_long_run_stays_small(tmp_path: Path) -> None:
    run_dir = made_dir(tmp_path, 50, duration_s=36_000.0)
    samples = samples_of(openmetrics(read_run(run_dir)))
    instants = {str(sample.timestamp) for sample in samples}
    assert MAX_POINTS * 0.9 <= len(instants) <= MAX_POINTS + 2


def test_a_run_without_a_start_time_gives_one_instant_without_time(tmp_path: Path) -> None:
    samples = samples_of(openmetrics(read_run(made_dir(tmp_path, 50, t0_utc=""))))
    assert {sample.timestamp for sample in samples} == {None}
    assert sum(by_label(samples, "servebench_requests_total", "outcome").values()) == 50


def test_an_empty_run_is_still_a_file(tmp_path: Path) -> None:
    made_run.write(tmp_path, [], t0_utc=T0)
    text = openmetrics(read_run(tmp_path))
    assert text.endswith("# EOF\n")
    assert all(math.isfinite(sample.value) for sample in samples_of(text))
