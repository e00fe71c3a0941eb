import pytest


def pytest_configure(config: pytest.Config) -> None:
    # the SDK steers to the second dashboard schema; the classic one is what Grafana imports from a file
    config.addinivalue_line("filterwarnings", "ignore:Prefer using dashboardv2:DeprecationWarning")
