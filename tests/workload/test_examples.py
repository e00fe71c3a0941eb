"""The examples load and build."""

from pathlib import Path

from servebench.workload.prompt_files import load_prompts
from servebench.workload.scenario import load_scenario
from tests.workload.plans import plan

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def test_the_example_scenario_builds_with_questions_and_sessions() -> None:
    workload = plan(scenario=load_scenario(EXAMPLES / "support_bot.yaml")).build()
    assert workload.notes == ()
    arrivals = range(len(workload.intended_ns))
    turns = [workload.session_turns(id) for id in arrivals]
    assert {workload.spec(id).class_name for id in arrivals} == {"question", "lookup"}
    assert set(turns) == {1, 2, 3, 4, 5}


def test_the_example_prompts_are_sent() -> None:
    workload = plan(prompts=load_prompts(EXAMPLES / "prompts.jsonl")).build()
    assert b"continuous batching" in workload.body(0)
    assert workload.spec(1).output_tokens == 200
