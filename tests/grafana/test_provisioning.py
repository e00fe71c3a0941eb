"""The files beside the dashboards agree with one another and listen on loopback only."""

import re
from pathlib import Path
from typing import Any

import yaml

from tests.grafana.reading import DASHBOARDS, GRAFANA


def read(name: str) -> Any:
    return yaml.safe_load((GRAFANA / name).read_text(encoding="utf-8"))


def mounts(service: dict[str, Any]) -> dict[str, Path]:
    """Path in the container -> path here, of the bind mounts."""
    pairs = [volume.split(":") for volume in service["volumes"]]
    return {inside: (GRAFANA / here).resolve() for here, inside, *_ in pairs if here.startswith(".")}


def test_every_address_is_loopback() -> None:
    services = read("compose.yml")["services"]
    assert "ports" not in services["prometheus"]
    assert "ports" not in services["grafana"]
    assert all(service["network_mode"] == "host" for service in services.values())
    assert "--web.listen-address=127.0.0.1:9090" in services["prometheus"]["command"]
    assert services["grafana"]["environment"]["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"
    targets = read("prometheus/prometheus.yml")["scrape_configs"][0]["static_configs"][0]["targets"]
    assert [target.split(":")[0] for target in targets] == ["127.0.0.1"]


def test_the_data_source_is_the_prometheus_that_is_started() -> None:
    (source,) = read("provisioning/datasources/prometheus.yml")["datasources"]
    assert source["url"] == "http://127.0.0.1:9090"
    # $__rate_interval is four times timeInterval: with a longer scrape interval every rate is empty
    assert (
        source["jsonData"]["timeInterval"]
        == read("prometheus/prometheus.yml")["global"]["scrape_interval"]
        == "1s"
    )


def test_every_mounted_path_exists_and_the_dashboards_are_where_grafana_looks() -> None:
    services = read("compose.yml")["services"]
    inside = mounts(services["grafana"])
    assert all(path.is_dir() for path in [*inside.values(), *mounts(services["prometheus"]).values()])
    (provider,) = read("provisioning/dashboards/servebench.yml")["providers"]
    assert inside[provider["options"]["path"]] == DASHBOARDS[0].parent
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (inside[str(Path(home).parent)] / Path(home).name).is_file()
    command = services["prometheus"]["command"]
    (config,) = [re.sub(".*=", "", word) for word in command if word.startswith("--config.file=")]
    assert (mounts(services["prometheus"])[str(Path(config).parent)] / Path(config).name).is_file()


def test_the_readme_says_what_stands_in_for_a_grafana_server() -> None:
    text = " ".join((GRAFANA / "README.md").read_text(encoding="utf-8").split())
    assert "No test here runs a Grafana server" in text
    port = read("prometheus/prometheus.yml")["scrape_configs"][0]["static_configs"][0]["targets"][0].split(
        ":"
    )[1]
    assert f"--metrics-port {port}" in text
