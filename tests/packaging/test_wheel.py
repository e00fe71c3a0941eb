"""What a wheel of this checkout carries: both packages, the catalog, the scenarios, the locustfiles."""

import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
IN_WHEEL = {
    "src/servebench": "servebench",
    "mock_server": "mock_server",
    "locustfiles": "servebench/locustfiles",
}


@pytest.fixture(scope="module")
def carried(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Name in the wheel -> text of the metadata files, "" for the others."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "wheel",
        str(ROOT),
        "--no-deps",
        "-w",
        str(folder),
    ]
    if importlib.util.find_spec("hatchling") is not None:
        command.append("--no-build-isolation")
    result = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    if (
        result.returncode != 0
        and "hatchling" in result.stderr
        and "No matching distribution" in result.stderr
    ):
        pytest.skip("the build backend hatchling can't be fetched here")
    assert result.returncode == 0, result.stdout + result.stderr
    (wheel,) = folder.glob("servebench-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return {
            name: archive.read(name).decode() if ".dist-info/" in name else "" for name in archive.namelist()
        }


def test_every_file_of_the_packages_is_there_and_nothing_else(carried: dict[str, str]) -> None:
    # what git would ship: built files and caches lie in the tree of whoever works in it
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *IN_WHEEL],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    expected = {
        os.path.join(target, os.path.relpath(name, source))
        for name in listed
        if (ROOT / name).exists()
        for source, target in IN_WHEEL.items()
        if name.startswith(source + "/")
    }
    assert {name for name in carried if ".dist-info/" not in name} == expected


def test_the_data_files_are_there(carried: dict[str, str]) -> None:
    for wanted in (
        "servebench/py.typed",
        "servebench/catalog/data/tiers.yaml",
        "servebench/workload/scenarios/chat.yaml",
        "servebench/locustfiles/chat.py",
        "mock_server/__main__.py",
    ):
        assert wanted in carried


def test_the_console_script_and_the_licence(carried: dict[str, str]) -> None:
    (entry_points,) = [text for name, text in carried.items() if name.endswith("entry_points.txt")]
    assert "servebench = servebench.cli:main" in entry_points
    assert any(name.endswith("licenses/LICENSE") for name in carried)
    (metadata,) = [text for name, text in carried.items() if name.endswith("/METADATA")]
    assert "Requires-Python: >=3.11" in metadata
