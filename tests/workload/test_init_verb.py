"""`servebench init`: every shipped scenario as a file that runs as it is, and no file lost."""

import math
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from servebench.cli import cli
from servebench.errors import UsageError
from servebench.workload.scenario import load_scenario, scenario_names, scenario_text
from tests.workload.plans import plan


@pytest.mark.parametrize("name", scenario_names())
def test_the_file_is_the_shipped_scenario_under_its_own_name(name: str, tmp_path: Path) -> None:
    path = tmp_path / "my bot.yaml"
    result = CliRunner().invoke(cli, ["init", name, "--out", str(path)], catch_exceptions=False)
    assert (result.exit_code, str(path) in result.output) == (0, True)
    written = load_scenario(path)
    assert written.name == "my-bot"
    assert written == load_scenario(name).model_copy(update={"name": "my-bot"})
    text = path.read_text(encoding="utf-8")
    assert text.count("#") > 10
    assert f"servebench run {path} --dry-run" in text


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


def test_what_the_comments_offer_is_possible(tmp_path: Path) -> None:
    """Each key in the head of the file, in place of or beside the copy's own."""
    made = CliRunner().invoke(cli, ["init", "chat", "--out", "-"], catch_exceptions=False).output
    offered = re.findall(r"^#   (\w+: .*?)(?:   .*)?$", made, re.MULTILINE)
    assert [line.split(":")[0] for line in offered] == ["prompts", "tiers", "load"]
    for line in offered:
        key = line.split(":")[0]
        body = re.sub(rf"^{key}:.*\n(?:[ #].*\n)*", "", made, flags=re.MULTILINE)
        (tmp_path / "s.yaml").write_text(f"{body}\n{line}\n", encoding="utf-8")
        assert getattr(load_scenario(tmp_path / "s.yaml"), key)


@pytest.mark.parametrize("name", scenario_names())
def test_what_the_comments_count_is_so(name: str) -> None:
    """Requests after the warm-up, samples that a verdict needs, and medians of the fits."""
    scenario, text = load_scenario(name), scenario_text(name)
    workload = plan(scenario=scenario).build()
    for count, what in re.findall(r"([\d,]+) (requests|sessions begin) after the warm-up", text):
        assert scenario.load.rate_rps is not None
        steady_s = workload.duration_s - workload.warmup_s
        assert int(count.replace(",", "")) == round(scenario.load.rate_rps * steady_s), what
    for quantile, needed in re.findall(r"a p(\d+) verdict needs (\d+)", text):
        assert int(needed) == next(n for n in range(1, 999) if 1 - (int(quantile) / 100) ** n >= 0.99)
    for median, mu in re.findall(r"median ([\d,]+) tokens\n(?:.*\n){1,3}?\s+mu: ([\d.]+)", text):
        assert int(median.replace(",", "")) == pytest.approx(math.exp(float(mu)), rel=0.02)
