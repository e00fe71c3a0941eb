"""Bodies: valid requests, billed to the token as their specs say, byte-identical wherever they are built."""

import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mock_server.chat_request import parse_chat
from servebench.workload.plan import WorkloadPlan
from servebench.workload.tools import TOOLS
from tests.workload.plans import plan

OWN_TOOL = {"type": "function", "function": {"name": "naïve_größe", "parameters": {"type": "object"}}}


@st.composite
def classes(draw: st.DrawFn) -> list[dict[str, Any]]:
    out = []
    for k in range(draw(st.integers(1, 3))):
        tools = draw(st.lists(st.sampled_from([*TOOLS, "own"]), unique=True, max_size=3))
        cls: dict[str, Any] = {
            "name": f"class-{k}",
            "weight": draw(st.floats(0.1, 10)),
            "input_tokens": draw(
                st.integers(1, 40_000) | st.just({"dist": "uniform", "min": 10, "max": 9000})
            ),
            "output_tokens": draw(st.none() | st.integers(1, 500)),
            "reasoning_effort": draw(st.sampled_from([None, "none", "low"])),
            "tools": [OWN_TOOL if name == "own" else name for name in tools],
        }
        if tools:
            named = OWN_TOOL["function"]["name"] if tools[0] == "own" else tools[0]  # type: ignore[index]
            cls["tool_choice"] = draw(st.sampled_from([None, "auto", "required", named]))
            cls["parallel_tool_calls"] = draw(st.none() | st.booleans())
        if draw(st.booleans()):
            tokens = draw(st.integers(1, 3000) | st.just({"dist": "lognormal", "median": 500, "p95": 900}))
            share, variants = draw(st.floats(0, 1)), draw(st.integers(1, 5))
            cls["shared_prefix"] = {"tokens": tokens, "share": share, "variants": variants}
        out.append(cls)
    return out


@st.composite
def plans(draw: st.DrawFn) -> WorkloadPlan:
    return plan(
        *draw(classes()),
        seed=draw(st.integers(0, 2**32)),
        bytes_per_token=draw(st.floats(1, 6)),
        preamble_tokens=draw(st.integers(0, 300)),
    )


def content_bytes(body: dict[str, Any]) -> int:
    """The formula of prompts.py on a parsed body, written out a second time."""
    tools = json.dumps(body["tools"], separators=(",", ":"), ensure_ascii=False) if "tools" in body else ""
    return len(tools.encode()) + sum(len(message["content"].encode()) for message in body["messages"])


@settings(max_examples=60, deadline=None)
@given(plans())
def test_a_body_asks_what_its_spec_says_and_bills_exactly_its_prompt_tokens(plan: WorkloadPlan) -> None:
    workload = plan.build()
    by_name = {cls.name: cls for cls in plan.scenario.classes}
    for id in range(min(8, len(workload.intended_ns))):
        spec, raw = workload.spec(id), workload.body(id)
        body = json.loads(raw)
        cls = by_name[spec.class_name]
        assert (
            plan.preamble_tokens + math.ceil(content_bytes(body) / plan.bytes_per_token) == spec.prompt_tokens
        )
        assert body["model"] == "grok-4.3"
        assert body["stream"] is True
        assert body["stream_options"] == {"include_usage": True}
        assert body.get("max_completion_tokens") == spec.output_tokens
        assert body.get("reasoning_effort") == spec.reasoning_effort == cls.reasoning_effort
        assert tuple(tool["function"]["name"] for tool in body.get("tools", [])) == spec.tool_names
        assert ("prompt_cache_key" in body) == bool(spec.prefix_key) == (len(body["messages"]) == 2)
        chat = parse_chat(raw)  # the server reads the same bytes as content and tools
        assert len(chat.tools_json) + sum(len(text.encode()) for text in chat.contents) == content_bytes(body)


@settings(max_examples=20, deadline=None)
@given(plans(), st.randoms(use_true_random=False))
def test_any_worker_builds_the_same_bytes_in_any_order(plan: WorkloadPlan, random: Any) -> None:
    here, there = plan.build(), WorkloadPlan.model_validate_json(plan.model_dump_json()).build()
    assert here.schedule_hash == there.schedule_hash
    ids = list(range(min(20, len(here.intended_ns))))
    first = {id: here.body(id) for id in ids}
    random.shuffle(ids)
    assert all(there.body(id) == first[id] for id in ids)


def test_another_process_builds_the_same_bytes() -> None:
    one = plan(seed=5)
    program = (
        "import sys, hashlib; from servebench.workload.plan import WorkloadPlan\n"
        "w = WorkloadPlan.model_validate_json(sys.stdin.read()).build()\n"
        "print(w.schedule_hash, hashlib.sha256(b''.join(w.body(i) for i in range(50))).hexdigest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=one.model_dump_json(),
        capture_output=True,
        text=True,
        check=True,
    )
    workload = one.build()
    bodies = sha256(b"".join(workload.body(id) for id in range(50))).hexdigest()
    assert done.stdout.split() == [workload.schedule_hash, bodies]


def test_unshared_prompts_share_no_start_and_prefixes_share_theirs_exactly() -> None:
    shared = {"tokens": 300, "share": 0.5, "variants": 2}
    workload = plan({"name": "c", "input_tokens": 900, "shared_prefix": shared}).build()
    starts: dict[str, set[str]] = {}
    users = []
    for id in range(len(workload.intended_ns)):
        spec, body = workload.spec(id), json.loads(workload.body(id))
        users.append(body["messages"][-1]["content"][:19])
        if spec.prefix_key:
            system = body["messages"][0]["content"]
            assert len(system) == spec.prefix_tokens * 4
            starts.setdefault(spec.prefix_key, set()).add(system)
    assert len(set(users)) == len(users)
    assert sorted(starts) == ["c/0", "c/1"]
    assert all(len(texts) == 1 for texts in starts.values())
    prefixed = sum(bool(workload.spec(id).prefix_key) for id in range(len(users)))
    assert prefixed / len(users) == pytest.approx(0.5, abs=0.15)


def test_a_prompt_too_short_for_what_it_must_hold_is_raised_and_said() -> None:
    workload = plan({"name": "c", "input_tokens": 5, "tools": ["get_weather"]}).build()
    spec = workload.spec(0)
    assert spec.prompt_tokens > 192 + 20
    body = json.loads(workload.body(0))
    assert 192 + math.ceil(content_bytes(body) / 4) == spec.prompt_tokens
    assert len(body["messages"][0]["content"]) >= 20
    assert f"{len(workload.intended_ns)} prompts raised" in workload.notes[0]


def test_prompts_are_shortened_to_the_window_with_room_for_the_answer() -> None:
    cls = {"name": "c", "input_tokens": {"dist": "uniform", "min": 4000, "max": 9000}, "output_tokens": 100}
    workload = plan(cls, context_length_tokens=5000).build()
    prompts = [workload.spec(id).prompt_tokens for id in range(len(workload.intended_ns))]
    assert max(prompts) == 4900
    assert f"{prompts.count(4900)} prompts shortened" in workload.notes[0]


def best_s(work: Callable[[int], object], times: int) -> float:
    spans = []
    for k in range(times):
        begin = time.perf_counter()
        work(k)
        spans.append(time.perf_counter() - begin)
    return min(spans)


def test_long_bodies_are_cheap() -> None:
    cls = {"name": "c", "input_tokens": 128_000, "shared_prefix": {"tokens": 48_000}}
    assert best_s(plan(cls).build().body, 30) < 0.001
    assert best_s(plan({"name": "c", "input_tokens": 990_000}).build().body, 10) < 0.01
