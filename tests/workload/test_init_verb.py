"""`servebench init`: every shipped scenario as a file that runs as it is, and no file lost."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from servebench.cli import cli
from servebench.errors import UsageError
from servebench.workload.scenario import load_scenario, scenario_names


@pytest.mark.parametrize("name", scenario_names())
def test_the_file_is_the_shipped_scenario_under_its_own_name(name: str, tmp_path: Path) -> None:
    path = tmp_path / "my bot.yaml"
    result = CliRunner().invoke(cli, ["init", name, "--out", str(path)], catch_exceptions=False)
    assert (result.exit_code, str(path) in result.output) == (0, True)
    written = load_scenario(path)
    assert written.name == "my-bot"
    assert written == load_scenario(name).model_copy(update={"name": "my-bot"})
    assert path.read_text(encoding="utf-8").count("#") > 10


def test_without_a_name_it_is_chat_and_lands_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    CliRunner().invoke(cli, ["init"], catch_exceptions=False)
    assert load_scenario("my-chat.yaml").classes == load_scenario("chat").classes


def test_a_file_is_never_lost(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match="already there"):
        CliRunner().invoke(cli, ["init", "--out", str(path)], catch_exceptions=False)
    assert path.read_text(encoding="utf-8") == "mine"
    CliRunner().invoke(cli, ["init", "--out", str(path), "--force"], catch_exceptions=False)
    assert load_scenario(path).name == "s"


def test_it_prints_and_refuses_what_it_doesnt_know(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["init", "rag", "--out", "-"], catch_exceptions=False)
    (tmp_path / "r.yaml").write_text(result.output, encoding="utf-8")
    assert load_scenario(tmp_path / "r.yaml") == load_scenario("rag")
    with pytest.raises(UsageError, match=r"did you mean chat\?"):
        CliRunner().invoke(cli, ["init", "chta"], catch_exceptions=False)
