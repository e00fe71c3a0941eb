"""Sessions: waits and lengths as asked, the same anywhere, ended by failures."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from servebench.errors import UsageError
from servebench.workload.plan import WorkloadPlan
from servebench.workload.scenario import load_scenario, parse_scenario
from servebench.workload.sessions import NextTurn, TurnOutcome, join_id, split_id
from tests.workload.agent_sessions import AGENT, DONE, SHAPE, calls_of
from tests.workload.plans import CHAT, plan


def test_counts_waits_and_lengths_have_the_distributions_asked() -> None:
    workload = plan(AGENT, rate_rps=60.0).build()
    turns, results, tool_s, think_s, outputs = [], [], [], [], []
    for arrival in range(400):
        calls = calls_of(workload, arrival)
        steps = workload.spec(calls[-1][0]).history
        assert (
            len(calls)
            == len(steps) + 1
            == workload.session_turns(arrival)
            == workload.session_turns(calls[-1][0])
        )
        turns.append(1 + sum(step.role == "user" for step in steps))
        results += [step.tokens for step in steps if step.role == "tool"]
        tool_s += [step.wait_s for step in steps if step.role == "tool"]
        think_s += [step.wait_s for step in steps if step.role == "user"]
        outputs += [workload.spec(id).output_tokens for id, _ in calls]
        assert [wait_s for _, wait_s in calls[1:]] == [step.wait_s for step in steps]
    assert np.bincount(turns)[1:] == pytest.approx([100] * 4, abs=40)
    assert np.median(results) == pytest.approx(400, rel=0.1)
    assert np.quantile(results, 0.95) == pytest.approx(3000, rel=0.15)
    assert np.mean(tool_s) == pytest.approx(0.5, rel=0.1)
    assert set(think_s) == {7.0}
    assert np.median(np.array(outputs)) == pytest.approx(300, rel=0.1)


def test_sessions_arrive_open_loop_and_their_calls_in_clusters() -> None:
    """Poisson sessions whose calls follow after waits, answers taking no time: a Bartlett-Lewis process (Cox
    and Isham, Point Processes, 1980, section 3.4). Of N calls over a time D: starts are Poisson, requests
    come at rate * E N with the dispersion E N^2 / E N in long windows, and sessions at work, as in M/G/inf,
    are Poisson of mean rate * E D.
    """
    rate_rps, seconds, settled_s, window_s = 4.0, 3000.0, 60.0, 150.0
    shape = {**SHAPE, "tool_time_s": {"dist": "exponential", "mean": 0.5},
             "think_time_s": {"dist": "exponential", "mean": 3}}  # fmt: skip
    fields = {"load": {"rate_rps": rate_rps, "duration_s": seconds, "process": "poisson"}}
    workload = plan({**AGENT, "session": shape}, scenario_fields=fields).build()
    starts = workload.intended_ns / 1e9
    assert stats.kstest(np.diff(starts), "expon", args=(0, 1 / rate_rps)).pvalue > 0.001
    calls_s, lasts_s, counts = [], [], []
    for arrival, start_s in enumerate(starts):
        waits = [wait_s for _, wait_s in calls_of(workload, arrival)]
        calls_s.append(start_s + np.cumsum(waits))
        lasts_s.append(calls_s[-1][-1])
        counts.append(len(waits))
    # turns 1 to 4 and calls 1 to 5, both even: N is a sum of T numbers of mean 3 and variance 2
    assert np.mean(counts) == pytest.approx(2.5 * 3, abs=4 * np.std(counts) / len(counts) ** 0.5)
    assert np.var(counts) == pytest.approx(2.5 * 2 + 1.25 * 9, rel=0.05)
    edges = np.arange(settled_s, seconds, window_s)
    requests, _ = np.histogram(np.concatenate(calls_s), edges)
    assert requests.mean() == pytest.approx(rate_rps * 7.5 * window_s, rel=0.03)
    clustered = (16.25 + 7.5**2) / 7.5
    assert requests.var(ddof=1) / requests.mean() == pytest.approx(
        clustered, rel=4 * (2 / len(requests)) ** 0.5
    )
    looks_s = np.arange(settled_s, seconds, 20.0)
    working = np.searchsorted(starts, looks_s) - np.searchsorted(np.sort(lasts_s), looks_s)
    expected = rate_rps * float(np.mean(np.array(lasts_s) - starts))
    assert working.mean() == pytest.approx(expected, abs=5 * (expected / len(looks_s)) ** 0.5)
    assert working.var() / working.mean() == pytest.approx(1, abs=5 * (2 / len(looks_s)) ** 0.5)


@given(st.integers(0, 2**40), st.sampled_from([1, 2, 4]))
@settings(max_examples=10, deadline=None)
def test_any_worker_makes_the_same_sessions(seed: int, workers: int) -> None:
    one = plan(AGENT, CHAT, seed=seed, rate_rps=1.0)
    whole = one.build()
    for k in range(workers):
        other = WorkloadPlan.model_validate_json(one.model_dump_json()).build()
        assert other.schedule_hash == whole.schedule_hash
        for arrival in reversed(range(k, len(whole.intended_ns), workers)):
            calls = calls_of(other, arrival)
            assert calls == calls_of(whole, arrival)
            for id, _ in calls[-1:]:
                assert other.body(id) == whole.body(id)


def test_a_failed_call_ends_its_session() -> None:
    workload = plan(AGENT, rate_rps=5.0).build()
    arrival = next(
        a for a in range(40) if workload.session_turns(a) > 3 and workload.spec(a).tool_choice == "required"
    )
    following = workload.next_turn(arrival, DONE)
    assert (
        following == NextTurn(join_id(arrival, 1), workload.spec(following.id).history[0].wait_s)
        if following
        else False
    )
    assert workload.next_turn(arrival, TurnOutcome(ok=False, tool_calls=1)) is None
    assert workload.next_turn(arrival, TurnOutcome(ok=True, tool_calls=0)) is None  # it was to call a tool
    last = calls_of(workload, arrival)[-1][0]
    assert workload.next_turn(last, DONE) is None
    assert split_id(last) == (arrival, workload.session_turns(arrival) - 1)
    with pytest.raises(IndexError):
        workload.spec(join_id(arrival, workload.session_turns(arrival)))
    with pytest.raises(IndexError):
        workload.spec(join_id(len(workload.intended_ns), 0))


def test_requests_of_their_own_stand_beside_sessions() -> None:
    workload = plan(AGENT, CHAT, rate_rps=20.0).build()
    assert workload.has_sessions
    assert not plan(CHAT).build().has_sessions
    singles = [a for a in range(len(workload.intended_ns)) if workload.spec(a).class_name == "chat"]
    assert singles
    for arrival in singles[:20]:
        assert workload.session_turns(arrival) == 1
        assert workload.next_turn(arrival, DONE) is None
        assert workload.spec(arrival).session is None


def test_closed_loops_have_sessions_too() -> None:
    load = {"users": 3, "duration_s": 30}
    workload = plan(AGENT, scenario_fields={"load": load}).build()
    assert len(calls_of(workload, 10**6)) == workload.session_turns(10**6)


def test_a_change_of_the_sessions_changes_the_hash() -> None:
    other = {**AGENT, "session": {**SHAPE, "tool_time_s": 1.0}}
    assert plan(AGENT).build().schedule_hash != plan(other).build().schedule_hash


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            ("calls_per_turn: 2", "calls_per_turn: 2, think_s: 3"),
            "session.think_s: unknown key (did you mean think_time_s?)",
        ),
        (("tools: [run_sql], ", ""), "session: calls_per_turn above 1 needs tools"),
        (("tools: [run_sql]", "tools: [run_sql], tool_choice: auto"), "tool_choice: is set by the session"),
        (("turns: 2", "turns: x"), "session.turns: must be a number or a mapping with dist"),
    ],
)
def test_wrong_sessions_are_told(change: tuple[str, str], problem: str) -> None:
    growth = "answer_tokens: 5, result_tokens: 5, message_tokens: 5"
    shape = "{turns: 2, calls_per_turn: 2, " + growth + ", tool_time_s: 1, think_time_s: 1}"
    text = f"""
name: s
load: {{rate_rps: 1, duration_s: 9}}
classes: [{{name: c, input_tokens: 500, tools: [run_sql], session: {shape}}}]
"""
    parse_scenario(text, "f.yaml")
    with pytest.raises(UsageError) as caught:
        parse_scenario(text.replace(*change), "f.yaml")
    assert [p for p in caught.value.problems if p.startswith(f"f.yaml: classes[0].{problem}")], (
        caught.value.problems
    )


def test_the_shipped_agents_have_the_published_means() -> None:
    """GitHub Copilot, June 2026: turns, calls, and prompt and output tokens of a call."""
    workload = plan(scenario=load_scenario("agent_tools"), rate_rps=2.0).build()
    turns, calls, prompts, outputs = 0, 0, [], []
    for arrival in range(1000):
        last = workload.spec(join_id(arrival, workload.session_turns(arrival) - 1))
        growth = [0, *np.cumsum([step.answer_tokens + step.tokens for step in last.history]).tolist()]
        prompts += [workload.spec(arrival).prompt_tokens + more for more in growth]
        turns += 1 + sum(step.role == "user" for step in last.history)
        calls += len(growth)
        outputs.append(last.output_tokens or 0)
    assert prompts[-1] == last.prompt_tokens
    assert turns / 1000 == pytest.approx(3.95, rel=0.1)
    assert calls / turns == pytest.approx(7.83, rel=0.1)
    assert np.mean(prompts) == pytest.approx(67_800, rel=0.1)
    assert np.mean(outputs) == pytest.approx(527, rel=0.1)
