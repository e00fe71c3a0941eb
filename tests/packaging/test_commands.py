"""Makefile, constraints, CI script and workflows say what is true of this checkout."""

import importlib
import importlib.metadata
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from servebench.cli import VERBS

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    found = [
        re.fullmatch(r"([\w.-]+)==([\w.]+)", line) for line in lines if line and not line.startswith("#")
    ]
    assert all(found), "only NAME==VERSION lines: no path, no index"
    return {canonicalize_name(match[1]): match[2] for match in found if match is not None}


def requirements() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [
        Requirement(text) for text in [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    ]


def test_every_dependency_is_pinned_within_its_range() -> None:
    pinned = pins()
    for requirement in requirements():
        version = pinned[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement} but {version}"


def test_the_pins_are_what_is_installed() -> None:
    """Else the checks here say nothing of the versions that a user gets."""
    for name, version in pins().items():
        assert Version(importlib.metadata.version(name)) == Version(version), name


@pytest.mark.parametrize("target", ["run", "test", "lint", "clean"])
def test_make_knows_its_targets(target: str) -> None:
    make = shutil.which("make")
    assert make is not None
    result = subprocess.run([make, "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("python", "told"),
    [
        ("no-such-python", "needs Python 3.11 or newer: there is no no-such-python on PATH"),
        ("./old-python", "needs Python 3.11 or newer, and ./old-python is Python 3.9.1; name another"),
    ],
)
def test_make_says_which_python_it_needs(tmp_path: Path, python: str, told: str) -> None:
    make = shutil.which("make")
    assert make is not None
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    old = tmp_path / "old-python"
    old.write_text(
        '#!/bin/sh\nif [ "$1" = -V ]; then echo "Python 3.9.1"; else exit 1; fi\n', encoding="utf-8"
    )
    old.chmod(0o755)
    result = subprocess.run(
        [make, "run", f"PYTHON={python}"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode != 0
    assert told in result.stdout
    assert not (tmp_path / ".venv").exists()


def test_the_ci_script_is_bash_and_runs_the_make_targets() -> None:
    script = ROOT / ".ci" / "run"
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
    text = script.read_text(encoding="utf-8")
    assert "set -euo pipefail" in text
    assert "make lint" in text
    assert "make test" in text


def commands_of(path: Path) -> list[list[str]]:
    """The `servebench ...` commands in the run steps of a workflow, as words."""
    workflow: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    scripts = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    lines = [line.strip() for script in scripts for line in script.replace("\\\n", " ").splitlines()]
    return [shlex.split(line.partition("||")[0])[1:] for line in lines if line.startswith("servebench ")]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_have_least_rights_and_a_time_limit(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    assert all(job["timeout-minutes"] <= 30 for job in workflow["jobs"].values())


def test_the_capacity_workflow_plans_and_measures_with_flags_that_exist() -> None:
    commands = commands_of(ROOT / ".github" / "workflows" / "capacity.yml")
    assert [words[0] for words in commands] == ["plan", "run"]
    for verb, *arguments in commands:
        assert verb in VERBS
        command: click.Command = importlib.import_module(f"servebench.cli.{verb}").command
        parsed = command.make_context(verb, list(arguments), resilient_parsing=False)
        assert parsed.params["scenario"] == "chat"
    plan, run = commands
    assert {"--rate", "--tier", "--slo", "--max-gpus"} <= set(plan)
    assert {"--target", "--slo", "--junit"} <= set(run)
