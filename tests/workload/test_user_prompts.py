"""Prompts of the user's own: read in every form, sent as they are, billed by their bytes, and counted."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mock_server.chat_request import parse_chat
from servebench.errors import UsageError
from servebench.workload.plan import WorkloadPlan
from servebench.workload.prompt_files import load_prompts
from servebench.workload.prompt_set import PromptSet, documents, parse_prompts
from tests.workload.plans import CHAT, plan

JSONL = "\n".join(
    [
        '[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Größe? \\"ja\\""}]',
        '{"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, '
        '{"type": "text", "text": "b\u2028"}]}]}',
        "",
        '{"prompt": "Tell me.", "max_completion_tokens": 77}',
    ]
)
SHAREGPT = json.dumps(
    [
        {
            "id": "x",
            "conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello there, you"}],
        },
        {
            "conversations": [
                {"from": "system", "value": "S"},
                {"from": "human", "value": "One"},
                {"from": "gpt", "value": "1"},
                {"from": "human", "value": "Two"},
            ]
        },
    ]
)


def test_messages_are_sent_as_they_are() -> None:
    own = parse_prompts(JSONL, name="p.jsonl")
    workload = plan({**CHAT, "output_tokens": 50, "shared_prefix": {"tokens": 400}}, prompts=own).build()
    for id in range(9):
        spec, raw = workload.spec(id), workload.body(id)
        body, chat = json.loads(raw), parse_chat(raw)
        assert body["messages"] == json.loads(own.messages[id % 3])
        assert spec.prompt_tokens == 192 + math.ceil(sum(len(t.encode()) for t in chat.contents) / 4)
        assert body["max_completion_tokens"] == spec.output_tokens == (77 if id % 3 == 2 else 50)
        assert spec.prefix_key == ""
    assert json.loads(own.messages[0])[1]["content"] == 'Größe? "ja"'


def test_sharegpt_asks_its_last_question_for_an_answer_as_long_as_its_own() -> None:
    own = parse_prompts(SHAREGPT, name="s.json")
    workload = plan(prompts=own).build()
    assert json.loads(workload.body(0))["messages"] == [{"role": "user", "content": "Hi"}]
    assert workload.spec(0).output_tokens == 4  # 16 bytes at 4 a token
    assert [m["role"] for m in json.loads(workload.body(1))["messages"]] == [
        "system",
        "user",
        "assistant",
        "user",
    ]
    assert workload.spec(1).output_tokens is None


def test_a_directory_is_one_prompt_a_document_in_the_order_of_names(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name, text in (
        ("b.txt", "second"),
        ("a.md", "first"),
        ("sub/c.txt", "third"),
        ("empty", " "),
        (".x", "no"),
    ):
        (tmp_path / name).write_text(text, encoding="utf-8")
    own = load_prompts(tmp_path)
    assert [json.loads(m)[0]["content"] for m in own.messages] == ["first", "second", "third"]
    (tmp_path / "bad").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="is not UTF-8"):
        load_prompts(tmp_path)
    with pytest.raises(UsageError, match="cannot be read"):
        load_prompts(tmp_path / "none.jsonl")


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.text(min_size=1).filter(str.strip), min_size=1, max_size=6),
    st.sampled_from([4.0, 3.3]),
    st.booleans(),
)
def test_any_text_travels_and_bills_exactly(texts: list[str], ratio: float, tools: bool) -> None:
    cls = {**CHAT, "tools": ["run_sql"] if tools else []}
    one = plan(cls, prompts=documents(texts, name="d"), bytes_per_token=ratio, rate_rps=1.0)
    workload = WorkloadPlan.model_validate_json(one.model_dump_json()).build()
    assert workload.schedule_hash == one.build().schedule_hash
    for id in range(min(4, len(workload.intended_ns))):
        chat = parse_chat(workload.body(id))
        size = len(chat.tools_json) + sum(len(text.encode()) for text in chat.contents)
        assert chat.contents == (texts[id % len(texts)],)
        assert workload.spec(id).prompt_tokens == 192 + math.ceil(size / ratio)


def test_repeats_are_told_and_other_prompts_are_another_hash() -> None:
    own = documents(["one", "two"], name="d")
    workload = plan(prompts=own).build()
    assert workload.notes[0].startswith(f"2 prompts for {len(workload.intended_ns)} requests")
    assert plan(prompts=documents(["one", "twa"], name="d")).build().schedule_hash != workload.schedule_hash
    closed = plan(prompts=own, users=2).build()
    assert closed.body(10**6) == closed.body(0)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "holds no prompt"),
        ("{", "line 1: not JSON"),
        ('{"prompt": 3}', "line 1: must be a list of messages"),
        ("[]", "holds no prompt"),
        ('[{"role": "user"}]', r"line 1: messages\[0\].content must be text"),
        ('[{"role": "robot", "content": "x"}]', r"messages\[0\] must be an object with a role"),
        ('{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}', "a part that is not text"),
        ('{"prompt": "x", "max_completion_tokens": 0}', "must be a whole number >= 1"),
        ('[{"conversations": [{"from": "gpt", "value": "x"}]}]', "conversation 0: has no message of a human"),
        ('[{"conversations": [{"from": "cat", "value": "x"}]}]', r"conversations\[0\] must have from"),
        ('[{"conversations": [{"from": ["gpt"], "value": "x"}]}]', r"conversations\[0\] must have from"),
        ('[{"role": ["user"], "content": "x"}]', r"messages\[0\] must be an object with a role"),
        (r'{"prompt": "\ud800"}', "line 1: .*surrogates"),
        ('[{"role": "user", "content": "x", "n": 99999999999999999999999}]', "line 1: Integer exceeds"),
        ('[{"conversations": 3},\n{"a": 1}]', "conversation 0: must be an object with a list"),
    ],
)
def test_what_are_no_prompts_is_told_with_its_place(text: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        parse_prompts(text, name="p")


def test_contradictions_are_refused() -> None:
    own = documents(["word " * 2000], name="d")
    with pytest.raises(UsageError, match="longest prompt has"):
        plan(prompts=own, context_length_tokens=2000).build()
    trace = {"name": "t", "arrival_ns": [0], "input_tokens": [300], "output_tokens": [3], "duration_s": 1}
    with pytest.raises(UsageError, match="choose one"):
        plan(prompts=own, trace=trace).build()
    with pytest.raises(UsageError, match="single requests"):
        WorkloadPlan.model_validate({**_agents(), "prompts": own}).build()
    with pytest.raises(ValueError, match="of one length"):
        PromptSet.model_validate({**own.model_dump(), "content_bytes": ()})


def _agents() -> dict[str, Any]:
    target = {"bytes_per_token": 4.0, "preamble_tokens": 192, "context_length_tokens": 1_000_000}
    from servebench.workload.scenario import load_scenario

    return {"scenario": load_scenario("agent_tools"), **target}
