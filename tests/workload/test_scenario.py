"""Scenario files: shipped ones load and name their sources; wrong ones tell everything at once, each with
its place.
"""

import re
from importlib import resources
from pathlib import Path

import pytest
from pydantic import BaseModel

from servebench.errors import UsageError
from servebench.workload.bursts import Bursts
from servebench.workload.client_mix import ClientMix
from servebench.workload.lengths import DISTRIBUTIONS
from servebench.workload.load import Load
from servebench.workload.request_class import RequestClass, SharedPrefix
from servebench.workload.scenario import Scenario, load_scenario, parse_scenario, scenario_names
from servebench.workload.sessions import SessionShape
from servebench.workload.shapes import SHAPES, Stage
from servebench.workload.tools import TOOLS
from tests.workload.plans import plan

ROOT = Path(__file__).resolve().parents[2]
SOURCE = re.compile(r"#.*\b(published|derived|assumed|definition|only class)\b")

MODELS: list[type[BaseModel]] = [Scenario, Load, Bursts, ClientMix, Stage, SessionShape, *SHAPES.values(),
                                  RequestClass, SharedPrefix, *DISTRIBUTIONS.values()]  # fmt: skip

WRONG = """
name: two words
modle: grok-4.3
load: {rate_rps: -1, users: 3, process: gama, duration_s: abc}
warmup_s: -5
classes:
  - name: a
    weight: -1
    input_tokens: {dist: lognormal, median: 5, sgima: 2}
    tools: [get_wether, 7]
    tool_choice: required
  - name: a
    wieght: 3
    input_tokens: {dist: uniform, min: 10, max: 2}
    output_tokens: {dist: unifrom, min: 1, max: 2}
    tool_choice: auto
    shared_prefix: {tokens: [1], share: 2}
  - input_tokens: hello
    reasoning_effort: huge
"""

PROBLEMS = [
    "name: must match",
    "modle: unknown key (did you mean model?)",
    "load.rate_rps: must be > 0, got -1",
    "load.process: must be one of 'constant', 'poisson', 'gamma', 'mmpp' or 'clients', got 'gama'",
    "load.duration_s: must be a number, got 'abc'",
    "load: is open (rate_rps, process) and closed (users) at once: choose one",
    "warmup_s: must be >= 0, got -5",
    "classes: the name 'a' stands there 2 times",
    "classes[0].weight: must be >= 0, got -1",
    "classes[0].input_tokens.sgima: unknown key (did you mean sigma?)",
    "classes[0].tools[0]: unknown tool 'get_wether'",
    "classes[0].tools[1]: must be a shipped tool's name",
    "classes[1].wieght: unknown key (did you mean weight?)",
    "classes[1].input_tokens: max must be >= min 10, got 2",
    "classes[1].output_tokens: dist must be one of",
    "classes[1].tool_choice: needs tools",
    "classes[1].shared_prefix.tokens: must be a number or a mapping with dist",
    "classes[1].shared_prefix.share: must be <= 1, got 2",
    "classes[2].name: is missing",
    "classes[2].input_tokens: must be a number or a mapping with dist",
    "classes[2].reasoning_effort: must be one of",
]


def problems_of(text: str) -> list[str]:
    with pytest.raises(UsageError) as caught:
        parse_scenario(text, "f.yaml")
    return [problem.removeprefix("f.yaml: ") for problem in caught.value.problems]


def test_every_problem_of_a_file_is_told_at_once_with_its_place() -> None:
    found = problems_of(WRONG)
    for expected in PROBLEMS:
        assert [line for line in found if line.startswith(expected)], f"{expected!r} not among {found}"
    assert len(found) == len(PROBLEMS)
    assert not any("\n" in line or "pydantic" in line for line in found)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("rate_rps: 2", "users: 0"), "load.users: must be > 0, got 0"),
        (("rate_rps: 2", "process: poisson"), "load: give rate_rps (open loop) or users (closed loop)"),
        (("rate_rps: 2", "rate_rps: 2, process: gamma"), "load.cv: process gamma wants one"),
        (("rate_rps: 2", "rate_rps: 2, cv: 3"), "load.cv: belongs to process gamma"),
        (("rate_rps: 2", "rate_rps: 2, process: mmpp"), "load.bursts: process mmpp wants one"),
        (("rate_rps: 2", "rate_rps: 2, clients: {count: 20}"), "load.clients: belongs to process clients"),
        (
            ("rate_rps: 2", "users: 2, shape: {kind: diurnal, amplitude: 1}"),
            "load: is open (shape) and closed",
        ),
        (
            ("rate_rps: 2", "rate_rps: 2, shape: {kind: spike, at_s: 1, hold_s: -2, factor: 3}"),
            "load.shape.hold_s: must be > 0, got -2",
        ),
        (
            ("rate_rps: 2", "rate_rps: 2, shape: {kind: stages, stages: [{duration_s: 1, edn: 2, end: 3}]}"),
            "load.shape.stages[0].edn: unknown key (did you mean end?)",
        ),
        (
            ("rate_rps: 2", "rate_rps: 2, shape: {kind: wave}"),
            "load.shape: must be a mapping with kind (stages",
        ),
        (
            ("rate_rps: 2", "rate_rps: 2, process: clients, clients: {count: 5}"),
            "load.clients: count must be > top 10, got 5",
        ),
        (("rate_rps: 2", "rate_rps: .nan"), "load.rate_rps: must be a finite number, got nan"),
        (("rate_rps: 2", "rate_rps: 2, users: 2"), "load: is open (rate_rps) and closed (users) at once"),
        (("weight: 1", "weight: 0"), "classes: the weights sum to 0"),
        (("name: c", "name: all"), "classes: the name 'all' is kept"),
        (("weight: 1", "tools: [run_sql, run_sql]"), "classes[0].tools: run_sql stands there twice"),
        (("weight: 1", "tools: [run_sql], tool_choice: x"), "classes[0].tool_choice: must be one of auto"),
        (("weight: 1", "parallel_tool_calls: true"), "classes[0].parallel_tool_calls: needs tools"),
        (("name: s", "name: s\nwarmup_s: 9"), "warmup_s: must be < duration_s 9, got 9"),
    ],
)
def test_what_is_wrong_together_is_told_with_its_place(change: tuple[str, str], problem: str) -> None:
    text = "name: s\nload: {rate_rps: 2, duration_s: 9}\nclasses: [{name: c, weight: 1, input_tokens: 500}]"
    parse_scenario(text, "f.yaml")
    (line,) = problems_of(text.replace(*change))
    assert line.startswith(problem)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("name: x\nload: [1,\n", "f.yaml, line 3, column 1: not valid YAML"),
        ("name: x\n\tload: 3", "f.yaml, line 2, column 1: not valid YAML"),
        ("name: x\nname: y", "f.yaml, line 2, column 1: not valid YAML: the key 'name' stands there twice"),
        ("name: *nowhere", "f.yaml, line 1, column 7: not valid YAML"),
        ("\x00", "f.yaml: not valid YAML"),
        ("[" * 5000, "f.yaml"),
        ("", "f.yaml: must be a mapping with name, load and classes, got nothing"),
        ("- 1", "f.yaml: must be a mapping with name, load and classes, got a list"),
    ],
)
def test_what_is_no_scenario_file_at_all_is_one_sentence(text: str, problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_scenario(text, "f.yaml")
    assert len(caught.value.problems) == 1
    assert str(caught.value).startswith(problem)
    assert "\n" not in str(caught.value)


def test_a_missing_file_names_the_shipped_scenarios() -> None:
    with pytest.raises(UsageError, match=r"no scenario 'chta'.*chat, .*mixed, .*tools \(did you mean chat\?"):
        load_scenario("chta")


def test_unreadable_files_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("name: größe".encode("latin-1"))
    with pytest.raises(UsageError, match="is not UTF-8 text"):
        load_scenario(tmp_path / "latin.yaml")
    with pytest.raises(UsageError, match="cannot be read"):
        load_scenario(tmp_path)


def test_a_file_of_ones_own_loads_by_its_path(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "name: mine\nload: {users: 3, think_time_s: 1, duration_s: 9}\nclasses: [{name: c, input_tokens: 9}]"
    )
    assert load_scenario(file) == load_scenario(str(file))
    assert load_scenario(file).load.mode == "closed"


@pytest.mark.parametrize("name", scenario_names())
def test_shipped_scenarios_are_whole_and_survive_json(name: str) -> None:
    scenario = load_scenario(name)
    assert scenario.name == name
    assert scenario.description
    assert scenario.goodput
    assert all(cls.slo for cls in scenario.classes)
    assert Scenario.model_validate_json(scenario.model_dump_json()) == scenario
    assert load_scenario(name.replace("_", "-")) == scenario
    workload = plan(scenario=scenario).build()
    assert len(workload.intended_ns) > 40
    assert workload.notes == ()
    classes = {workload.spec(id).class_name for id in range(len(workload.intended_ns))}
    assert classes == {cls.name for cls in scenario.classes}


@pytest.mark.parametrize("name", scenario_names())
def test_every_number_of_a_shipped_scenario_has_its_source(name: str) -> None:
    text = (resources.files("servebench.workload") / "scenarios" / f"{name}.yaml").read_text(encoding="utf-8")
    lines = text.splitlines()
    bare = [line for k, line in enumerate(lines) if _has_number(line) and not _has_source(lines, k)]
    assert bare == []
    assert sum(map(_has_number, lines)) > 8


def _has_number(line: str) -> bool:
    code = line.split("#")[0]
    if code.startswith("description:"):
        return False
    return bool(re.search(r"(?<![\w.\-])\d", code.split(":", 1)[-1]))


def _has_source(lines: list[str], k: int) -> bool:
    """On the line or in the comment above; list items share one, mu and sigma have the distribution's."""
    if SOURCE.search(lines[k]):
        return True
    line = lines[k].strip()
    above = k - 1
    if line.startswith("- "):
        while lines[above].strip().startswith("- "):
            above -= 1
    elif line.startswith(("mu:", "sigma:")):
        while not lines[above].rstrip().endswith("_tokens:"):
            above -= 1
        above -= 1
    while lines[above].strip().startswith("#"):
        if SOURCE.search(lines[above]):
            return True
        above -= 1
    return False


@pytest.mark.parametrize("model", MODELS)
def test_the_reference_page_names_every_key(model: type[BaseModel]) -> None:
    page = (ROOT / "docs" / "SCENARIOS.md").read_text(encoding="utf-8")
    assert [key for key in model.model_fields if f"`{key}`" not in page] == []


def test_the_reference_page_names_every_tool_distribution_and_scenario() -> None:
    page = (ROOT / "docs" / "SCENARIOS.md").read_text(encoding="utf-8")
    assert [
        name for name in (*TOOLS, *DISTRIBUTIONS, *SHAPES, *scenario_names()) if f"`{name}`" not in page
    ] == []


def test_the_example_of_the_reference_page_is_a_scenario() -> None:
    page = (ROOT / "docs" / "SCENARIOS.md").read_text(encoding="utf-8")
    examples = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert examples
    for example in examples:
        assert parse_scenario(example, "docs/SCENARIOS.md").classes


def test_a_tool_that_json_has_no_words_for_is_told() -> None:
    tool = "{type: function, function: {name: f, parameters: {properties: {a: {enum: {1: x}}}}}}"
    text = "name: s\nload: {rate_rps: 1, duration_s: 5}\nclasses:\n  - name: a\n    input_tokens: 900\n"
    text += f"    tools: [{tool}]"
    with pytest.raises(UsageError, match=r"classes\[0\].tools\[0\]: cannot be sent as JSON: Dict key must"):
        parse_scenario(text, "f.yaml")
