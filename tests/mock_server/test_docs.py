"""docs/MOCK.md says what is: its documents are valid, and no kind, verdict, flag or metric is left out."""

import re
from pathlib import Path

import pytest
import yaml

from mock_server.command import command
from mock_server.fault_rules import KINDS, parse_config
from mock_server.metrics import _GAUGES
from mock_server.verdicts import VERDICTS

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "MOCK.md").read_text(encoding="utf-8")
DOCUMENTS = re.findall(r"```yaml\n(.*?)```", TEXT, flags=re.DOTALL)


@pytest.mark.parametrize("text", DOCUMENTS)
def test_its_documents_are_taken(text: str) -> None:
    parse_config("docs/MOCK.md", yaml.safe_load(text), {"grok-4.3": 1})


def test_the_example_shows_every_kind() -> None:
    shown = {rule["kind"] for rule in yaml.safe_load(DOCUMENTS[0])["faults"]}
    assert shown == set(KINDS)


@pytest.mark.parametrize("word", [*KINDS, *VERDICTS, *[name for name in _GAUGES if name.startswith("mock_")]])
def test_it_explains(word: str) -> None:
    assert f"`{word}`" in TEXT


def test_flags_that_it_names_exist() -> None:
    flags = {option for parameter in command.params for option in parameter.opts}
    named = set(re.findall(r"`(--[a-z-]+)", TEXT)) - {"--json", "--help"}
    assert named <= flags
