"""The closed loop in arrays: against the replica that the mock and the plan run, and against the laws."""

import functools
from dataclasses import replace

import numpy as np
import pytest

from servebench.catalog.hardware import Gpu
from servebench.catalog.load import load_catalog
from servebench.catalog.model_file import find_model
from servebench.catalog.stack_constants import load_stack_constants
from servebench.catalog.tiers import Tier
from servebench.engine.closed_loop import Loads, Means, simulate
from servebench.engine.deployment import Backend, Deployment
from servebench.engine.replica import Replica
from servebench.engine.roofline import roofline, stacked
from servebench.engine.sequence import Sequence
from servebench.engine.step_costs import StepCosts, stack_efficiencies, step_costs

CLIENTS = (1, 2, 3, 8, 17, 32, 64, 100)
CATALOG = load_catalog()


def loads(clients: tuple[int, ...], prompt: int, output: int, room: float = 1e9) -> Loads:
    ones = np.ones(len(clients))
    return Loads(np.array(clients, dtype=float), ones * prompt, ones * output, ones * room)


def repeated(costs: StepCosts, times: int) -> StepCosts:
    return StepCosts(*(np.full(times, float(value)) for value in costs))


def deployed(
    model: str, backend: Backend, *, tp: int = 4, dp: int = 1, poll_steps: int = 1, clients: int = 1
) -> StepCosts:
    deployment = Deployment(
        model=find_model(model),
        gpu=CATALOG.gpu("b200"),
        backend=backend,
        gemm="fp8",
        experts="fp8",
        tp=tp,
        dp=dp,
        poll_steps=poll_steps,
    )
    peak = stacked([roofline(deployment)] * clients)
    return step_costs(peak, stack_efficiencies(peak, load_stack_constants().all))


def quiet_tier(tier_id: str) -> tuple[Tier, Gpu]:
    tier = CATALOG.tier(tier_id)
    serving = replace(tier.serving, step_noise_cv=0.0, prefill_noise_cv=0.0)
    return replace(tier, serving=serving), CATALOG.gpu(serving.gpu_id)


def by_replica(tier: Tier, gpu: Gpu, clients: int, prompt: int, output: int) -> tuple[float, float]:
    """Mean TTFT and TPOT of two rounds of a closed loop on the engine that the mock and the plan run."""
    replica = Replica(tier, gpu)
    for client in range(clients):
        replica.submit(Sequence(client, 0.0, prompt, output))
    now_s = 0.0
    done: list[Sequence] = []
    while len(done) < 2 * clients:
        start_s = replica.next_start_s(now_s)
        assert start_s is not None
        step = replica.start_step(start_s)
        assert step is not None
        now_s = step.end_s
        for emission in replica.finish_step(step):
            if emission.finished:
                sequence = emission.sequence
                if sequence.id < 2 * clients:
                    done.append(sequence)
                replica.submit(Sequence(sequence.id + clients, now_s, prompt, output))
    first_s = np.array([s.first_token_s for s in done], dtype=float)
    end_s = np.array([s.finished_s for s in done], dtype=float)
    sent_s = np.array([s.arrival_s for s in done])
    return float(np.mean(first_s - sent_s)), float(np.mean((end_s - first_s) / (output - 1)))


@pytest.mark.parametrize(
    ("tier_id", "clients", "prompt", "output"),
    [
        ("grok-4.3", 1, 1_000, 200),
        ("grok-4.3", 8, 1_000, 200),
        ("grok-4.3", 40, 3_000, 300),  # the burst takes several steps of 16,384 tokens
        ("grok-5-large", 16, 30_000, 100),  # a prompt takes two steps
        ("grok-5-max", 100, 500, 150),
    ],
)
def test_arrays_and_the_replica_tell_the_same_story(
    tier_id: str, clients: int, prompt: int, output: int
) -> None:
    """One step-time model, two schedulers: what is validated is what the mock and the plan run."""
    tier, gpu = quiet_tier(tier_id)
    ttft_s, tpot_s = by_replica(tier, gpu, clients, prompt, output)
    costs = repeated(Replica(tier, gpu).model.costs, 1)
    means = simulate(costs, loads((clients,), prompt, output), low=1.0, rounds=2)
    assert means.tpot_s[0] == pytest.approx(tpot_s, rel=0.02)
    assert means.ttft_s[0] == pytest.approx(ttft_s, rel=0.05)


def test_one_client_by_hand() -> None:
    tier, gpu = quiet_tier("grok-4.3")
    model = Replica(tier, gpu).model
    means = simulate(repeated(model.costs, 1), loads((1,), 2_000, 11), low=1.0)
    prefill = model.step(0, 0, prefill_tokens=2_000, prefill_pairs=2_000 * 1_000).total_s
    assert means.ttft_s[0] == pytest.approx(tier.serving.ttft_floor_s + prefill, rel=1e-9)
    steps = [model.step(1, 2_001 + i).total_s for i in range(10)]
    assert means.tpot_s[0] == pytest.approx(sum(steps) / 10, rel=1e-9)


@functools.cache
def by_clients(model: str, backend: Backend) -> Means:
    """In step, so that hardly anything is in flight at the end."""
    costs = deployed(model, backend, clients=len(CLIENTS))
    return simulate(costs, loads(CLIENTS, 1_000, 300), low=1.0, rounds=2)


@pytest.mark.parametrize(
    ("model", "backend"),
    [
        ("llama-3.1-70b", Backend.VLLM),
        ("deepseek-v3", Backend.TRTLLM),
        ("gpt-oss-120b", Backend.VLLM),
        ("qwen3.5-397b-a17b", Backend.SGLANG),
    ],
)
class TestLaws:
    def test_littles_law(self, model: str, backend: Backend) -> None:
        """Every client always waits or is served: clients = rate x residence, up to what is in flight."""
        found = by_clients(model, backend)
        residence_s = found.ttft_s + found.tpot_s * 299
        assert found.requests_per_s * residence_s == pytest.approx(np.array(CLIENTS), rel=0.1)

    def test_more_clients_never_make_one_faster(self, model: str, backend: Backend) -> None:
        found = by_clients(model, backend)
        assert np.all(np.diff(found.tpot_s) > 0)

    def test_more_clients_never_carry_less(self, model: str, backend: Backend) -> None:
        found = by_clients(model, backend)
        assert np.all(np.diff(found.requests_per_s) > 0)


def test_a_full_cache_makes_prompts_wait_and_speeds_up_those_inside() -> None:
    costs = deployed("llama-3.1-70b", Backend.VLLM, clients=2)
    both = loads((64, 64), 1_000, 200)
    tight = replace(both, room=np.array([1e9, 16.0]))
    found = simulate(costs, tight)
    assert found.ttft_s[1] > 5 * found.ttft_s[0]
    assert found.tpot_s[1] < found.tpot_s[0]


def test_a_rarely_polled_queue_costs_half_its_interval() -> None:
    often, rarely = (
        simulate(deployed("qwen3.5-397b-a17b", Backend.SGLANG, poll_steps=n), loads((16,), 1_000, 1_000))
        for n in (1, 30)
    )
    waited_steps = (rarely.ttft_s[0] - often.ttft_s[0]) / often.tpot_s[0]
    assert 5 < waited_steps < 30


def test_a_lone_prompt_keeps_one_data_parallel_group_busy() -> None:
    """Its dense part does not spread over the groups, so that the first token takes longer than under TP."""
    shared, grouped = (
        simulate(deployed("deepseek-v3", Backend.TRTLLM, tp=tp, dp=dp), loads((1,), 8_192, 10))
        for tp, dp in ((8, 1), (1, 8))
    )
    assert grouped.ttft_s[0] > shared.ttft_s[0]


def test_the_same_lanes_in_any_company_give_the_same_numbers() -> None:
    costs = deployed("gpt-oss-120b", Backend.VLLM, clients=len(CLIENTS))
    together = simulate(costs, loads(CLIENTS, 1_000, 200))
    for i in (0, 4, 7):
        index = np.array([i])
        alone = simulate(costs.take(index), loads(CLIENTS, 1_000, 200).take(index))
        assert alone.ttft_s[0] == pytest.approx(together.ttft_s[i], rel=1e-9)
        assert alone.tpot_s[0] == pytest.approx(together.tpot_s[i], rel=1e-9)
