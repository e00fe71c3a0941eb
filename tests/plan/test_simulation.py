"""A fleet in virtual time: the same for the same seed, faster with more replicas, and in the laws of
queues."""

from dataclasses import replace

import numpy as np
import pytest

from servebench.catalog.load import load_catalog
from servebench.engine.step_time import StepTimeModel
from servebench.plan.demand import Demand
from servebench.plan.simulation import SimulationResult, simulate
from servebench.plan.steady_state import largest_batch, steady_state
from servebench.plan.traffic import Traffic
from servebench.workload.scenario import load_scenario, parse_scenario

CATALOG = load_catalog()
TIER = CATALOG.tier("grok-4.3")
GPU = CATALOG.gpu(TIER.serving.gpu_id)


def demand(name: str = "chat", seed: int = 1) -> Demand:
    return Demand(load_scenario(name), TIER, seed=seed)


def run(traffic: Traffic, replicas: int = 1, seed: int = 1, router: str = "least-loaded") -> SimulationResult:
    return simulate(traffic, tier=TIER, gpu=GPU, replicas=replicas, seed=seed, router=router)


def test_same_seed_same_answer() -> None:
    traffic = demand().traffic(600, rate_rps=20, cv=2.0)
    one, other, third = run(traffic, 2), run(traffic, 2), run(traffic, 2, seed=2)
    for name in ("ttft_s", "tpot_s", "e2e_s"):
        assert np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True)
    assert (one.steps, one.end_s) == (other.steps, other.end_s)
    assert not np.array_equal(one.ttft_s, third.ttft_s)


def test_every_request_ends_and_every_token_is_counted() -> None:
    traffic = demand("mixed").traffic(500, rate_rps=8, cv=1.0)
    result = run(traffic, 2)
    assert np.isfinite(result.e2e_s).all()
    assert result.generated_tokens == traffic.output_tokens.sum()
    assert (result.ttft_s >= TIER.serving.ttft_floor_s).all()
    assert (result.e2e_s >= result.ttft_s).all()
    spread = (traffic.output_tokens - 1) * result.tpot_s
    many = traffic.output_tokens > 1
    assert spread[many] == pytest.approx((result.e2e_s - result.ttft_s)[many])
    assert 0 < result.gpu_busy_share <= 1
    assert 0 < result.peak_kv_usage < 1


def test_shared_beginnings_are_cached() -> None:
    traffic = demand("tools").traffic(300, rate_rps=5, cv=1.0)
    result = run(traffic)
    assert result.cached_tokens.mean() > TIER.preamble_tokens  # more than the preamble that all share
    assert (result.cached_tokens < traffic.prompt_tokens).all()


def test_more_replicas_and_less_load_are_faster() -> None:
    ttft_s = {
        (replicas, rate_rps): run(demand().traffic(1_500, rate_rps=rate_rps, cv=2.0), replicas).ttft_s.mean()
        for replicas, rate_rps in ((1, 40), (2, 40), (1, 90), (2, 90))
    }
    assert ttft_s[2, 40] < ttft_s[1, 40] < ttft_s[1, 90]
    assert ttft_s[2, 90] < ttft_s[1, 90]


def test_both_routers_serve_all() -> None:
    traffic = demand().traffic(800, rate_rps=90, cv=2.0)
    fair, blind = run(traffic, 3), run(traffic, 3, router="round-robin")
    assert fair.generated_tokens == blind.generated_tokens
    assert fair.ttft_s.mean() <= blind.ttft_s.mean() * 1.05


def test_what_no_replica_can_hold_is_refused_and_counts() -> None:
    traffic = Traffic(
        arrival_s=np.array([0.0, 1.0]),
        prompt_tokens=np.array([100, TIER.context_length_tokens]),
        output_tokens=np.array([10, 10]),
    )
    result = run(traffic)
    assert result.refused == 1
    assert np.isfinite(result.ttft_s).tolist() == [True, False]
    assert np.isinf(result.tpot_s[1])


def test_the_same_requests_at_every_rate() -> None:
    slow = demand().traffic(400, rate_rps=2, cv=2.0)
    fast = demand().traffic(900, rate_rps=8, cv=2.0)
    # the same gaps, closer together
    assert fast.arrival_s[:400] / fast.arrival_s[399] == pytest.approx(slow.arrival_s / slow.arrival_s[-1])
    assert np.array_equal(fast.prompt_tokens[:400], slow.prompt_tokens)
    assert np.array_equal(fast.output_tokens[:400], slow.output_tokens)
    assert demand(seed=2).traffic(400, rate_rps=2, cv=2.0).arrival_s[5] != slow.arrival_s[5]


@pytest.mark.parametrize("count", [300, 1_453, 40_000])
@pytest.mark.parametrize("cv", [0.0, 1.0, 2.0, 4.0])
def test_the_rate_that_is_judged_is_the_one_that_was_asked(cv: float, count: int) -> None:
    for seed in (1, 2, 3):
        arrivals_s = demand(seed=seed).traffic(count, rate_rps=5, cv=cv).arrival_s
        assert count / arrivals_s[-1] == pytest.approx(5, rel=1e-9)


@pytest.mark.parametrize("cv", [0.0, 1.0, 2.0])
def test_arrivals_have_their_rate_and_burstiness(cv: float) -> None:
    gaps_s = np.diff(demand().traffic(60_000, rate_rps=5, cv=cv).arrival_s, prepend=0.0)
    assert gaps_s.mean() == pytest.approx(0.2, rel=0.03)
    assert gaps_s.std() / gaps_s.mean() == pytest.approx(cv, rel=0.03, abs=1e-9)


def test_reasoning_adds_to_what_is_generated() -> None:
    text = """
name: x
load: {rate_rps: 1, duration_s: 10}
classes: [{name: a, input_tokens: 300, output_tokens: 50, reasoning_effort: EFFORT}]
"""
    outputs = []
    for effort in ("none", "low", "high"):
        scenario = parse_scenario(text.replace("EFFORT", effort), "x")
        outputs.append(Demand(scenario, TIER, seed=1).traffic(500, rate_rps=1, cv=1.0).output_tokens)
    assert (outputs[0] == 50).all()
    medians = [TIER.reasoning_tokens[effort] for effort in ("low", "high")]
    assert [np.median(o - 50) for o in outputs[1:]] == pytest.approx(medians, rel=0.15)


def test_the_closed_form_agrees_with_the_simulation() -> None:
    """A saturated replica: as many requests a second as the formula says, which knows no spread and no
    noise."""
    demands = demand()
    result = run(demands.traffic(8_000, rate_rps=400, cv=1.0))
    simulated_rps = 8_000 / result.end_s
    means = demands.means(8_000)
    prompt, output = means.prompt_tokens, means.output_tokens
    model = StepTimeModel(TIER.shape, TIER.serving, GPU)
    state = largest_batch(
        model, tpot_limit_s=0.08, prompt_tokens=prompt, output_tokens=output, cached_tokens=192
    )
    assert state.batch == TIER.serving.max_num_seqs
    assert simulated_rps == pytest.approx(state.requests_per_s, rel=0.1)


def test_the_closed_form_refuses_what_cannot_be() -> None:
    model = StepTimeModel(TIER.shape, TIER.serving, GPU)
    with pytest.raises(ValueError, match="more than one"):
        steady_state(model, 8, prompt_tokens=100, output_tokens=1)
    with pytest.raises(ValueError, match="prefill tokens"):
        steady_state(model, 256, prompt_tokens=100_000, output_tokens=50)
    with pytest.raises(ValueError, match="within 1 ms"):
        largest_batch(model, tpot_limit_s=0.001, prompt_tokens=100, output_tokens=50)
    drafting = replace(TIER.serving, draft_tokens=3, accepted_tokens=2.5)
    faster = steady_state(StepTimeModel(TIER.shape, drafting, GPU), 8, prompt_tokens=100, output_tokens=50)
    assert faster.tpot_s < steady_state(model, 8, prompt_tokens=100, output_tokens=50).tpot_s


SESSIONS = """
name: agents
load: {rate_rps: 1, duration_s: 10}
classes:
  - name: agent
    input_tokens: 3000
    output_tokens: 40
    reasoning_effort: none
    tools: [run_sql]
    shared_prefix: {tokens: 1200, share: 1, variants: 1}
    session:
      {turns: 2, calls_per_turn: 3, answer_tokens: 40, result_tokens: 500, message_tokens: 50,
       tool_time_s: 0.5, think_time_s: 4}
"""


def test_later_calls_of_a_session_follow_the_end_of_the_one_before() -> None:
    agents = Demand(parse_scenario(SESSIONS, "agents"), TIER, seed=1)
    assert agents.means().calls == 6
    traffic = agents.traffic(60, rate_rps=0.5, cv=1.0)
    result = run(traffic, 2)
    assert len(result.arrival_s) == 360
    assert (np.diff(result.arrival_s) >= 0).all()
    assert result.generated_tokens == 360 * 40
    ends_s = result.arrival_s + result.e2e_s
    block = TIER.serving.block_tokens
    for session in range(60):
        rows = np.flatnonzero(result.origin == session)
        waits_s = result.arrival_s[rows[1:]] - ends_s[rows[:-1]]
        assert waits_s == pytest.approx([0.5, 0.5, 4.0, 0.5, 0.5])
        prompts = result.prompt_tokens[rows]
        assert np.diff(prompts).tolist() == [540, 540, 90, 540, 540]
        if session:  # the router may send a call to the other replica, which has only the shared beginning
            whole = set((prompts[:-1] // block * block).tolist())
            shared = (TIER.preamble_tokens + 1200) // block * block
            assert all(hit in whole | {shared} for hit in result.cached_tokens[rows[1:]].tolist())
    assert result.measured.sum() > 100
    assert not result.measured[0]


def test_on_one_replica_a_session_hits_all_it_sent_before() -> None:
    agents = Demand(parse_scenario(SESSIONS, "agents"), TIER, seed=2)
    result = run(agents.traffic(5, rate_rps=0.2, cv=1.0))
    block = TIER.serving.block_tokens
    for session in range(5):
        rows = np.flatnonzero(result.origin == session)
        assert (
            result.cached_tokens[rows[1:]].tolist()
            == (result.prompt_tokens[rows[:-1]] // block * block).tolist()
        )


def test_a_warm_cache_is_there_from_the_start() -> None:
    traffic = Traffic(np.array([0.0]), np.array([1_000]), np.array([5]), block_keys=(tuple(range(10)),))
    cold, warm = run(traffic), simulate(traffic, tier=TIER, gpu=GPU, replicas=1, warm_keys=tuple(range(10)))
    assert (cold.cached_tokens[0], warm.cached_tokens[0]) == (0, 10 * TIER.serving.block_tokens)
    assert warm.steps <= cold.steps


def test_an_observer_sees_all_the_busy_time_and_changes_nothing() -> None:
    traffic = demand().traffic(300, rate_rps=3, cv=1.0)
    seen_s = []
    watched = simulate(
        traffic, tier=TIER, gpu=GPU, replicas=2, seed=1,
        observe=lambda replica, step: seen_s.append(step.end_s - step.start_s),
    )  # fmt: skip
    alone = run(traffic, 2)
    assert watched.ttft_s == pytest.approx(alone.ttft_s)
    assert sum(seen_s) == pytest.approx(watched.gpu_busy_share * 2 * watched.end_s)
    assert len(seen_s) == watched.steps == alone.steps


def test_requests_with_tools_accept_their_own_share_of_drafts() -> None:
    serving = replace(
        TIER.serving, draft_tokens=3, accepted_tokens=3.5, accepted_tokens_by_workload={"tools": 1.2}
    )
    tier = replace(TIER, serving=serving)
    tpot_s = {}
    for name in ("chat", "tools"):
        traffic = Demand(load_scenario(name), tier, seed=1).traffic(150, rate_rps=1, cv=1.0)
        result = simulate(traffic, tier=tier, gpu=GPU, replicas=1)
        tpot_s[name] = np.nanmedian(result.tpot_s)
    assert tpot_s["tools"] > 2 * tpot_s["chat"]


@pytest.mark.parametrize("replicas", [1, 2])
def test_sessions_cut_off_after_the_last_has_begun_leave_what_is_judged_as_it_was(replicas: int) -> None:
    traffic = Demand(parse_scenario(SESSIONS, "agents"), TIER, seed=1).traffic(120, rate_rps=1.0, cv=2.0)
    whole = run(traffic, replicas)
    last_s = traffic.arrival_s[-1]
    short = simulate(traffic, tier=TIER, gpu=GPU, replicas=replicas, seed=1, stop_s=last_s + 4)
    assert len(short.arrival_s) < len(whole.arrival_s)
    assert short.arrival_s.max() <= last_s + 4
    early = np.flatnonzero(whole.arrival_s <= last_s)  # the first rows of both: a row is a call by arrival
    assert np.array_equal(short.origin[early], whole.origin[early])
    assert short.ttft_s[early] == pytest.approx(whole.ttft_s[early])
    done = early[(whole.arrival_s + whole.e2e_s)[early] < last_s + 4]
    assert len(done) > 0.95 * len(early)
    assert short.e2e_s[done] == pytest.approx(whole.e2e_s[done])
    assert short.measured[early].sum() == pytest.approx(whole.measured.sum(), rel=0.1)
    assert np.isfinite(short.e2e_s).all()


def test_progress_is_told_as_the_calls_are_made() -> None:
    told = list[tuple[float, float]]()
    traffic = Demand(parse_scenario(SESSIONS, "agents"), TIER, seed=1).traffic(450, rate_rps=4.0, cv=1.0)
    simulate(
        traffic, tier=TIER, gpu=GPU, replicas=1, on_progress=lambda share, now_s: told.append((share, now_s))
    )
    assert told
    assert told == sorted(told)
    assert all(0 < share <= 1 for share, _ in told)


@pytest.mark.parametrize("router", ["round-robin", "prefix-aware", "least-loaded"])
@pytest.mark.parametrize("replicas", [1, 3])
def test_sessions_on_replicas_that_run_ahead_go_as_step_by_step(replicas: int, router: str) -> None:
    """A replica runs ahead of the others, but never past a call that one of them still hides."""
    traffic = Demand(parse_scenario(SESSIONS, "agents"), TIER, seed=3).traffic(50, rate_rps=3.0, cv=2.0)
    assert traffic.follow_ups is not None
    at_once = tuple(tuple(replace(call, wait_s=0.0) for call in later) for later in traffic.follow_ups)
    traffic = replace(traffic, follow_ups=at_once)  # the call after comes as soon as it can
    ahead = run(traffic, replicas, router=router)
    stepped = simulate(
        traffic,
        tier=TIER,
        gpu=GPU,
        replicas=replicas,
        router=router,
        seed=1,
        observe=lambda replica, step: None,
    )
    assert ahead.steps == stepped.steps
    assert np.array_equal(ahead.origin, stepped.origin)
    assert np.array_equal(ahead.cached_tokens, stepped.cached_tokens)
    assert ahead.ttft_s == pytest.approx(stepped.ttft_s)
    assert ahead.e2e_s == pytest.approx(stepped.e2e_s)
