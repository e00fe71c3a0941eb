"""What a run plans to send, and its ideal cache: against the engine's own, over the bytes of the bodies."""

import numpy as np
import pytest

from mock_server.chat_request import parse_chat
from servebench.drive.options import build_plan
from servebench.engine.kv_cache import KvCache, prompt_block_keys
from servebench.engine.sequence import Sequence
from servebench.workload.plan import Workload
from servebench.workload.planned import CACHE_BLOCK_TOKENS, Planned, planned
from servebench.workload.prompt_set import documents
from servebench.workload.scenario import load_scenario, scenario_names
from servebench.workload.sessions import join_id
from servebench.workload.traces import parse_trace
from tests.workload.plans import CHAT, plan
from tests.workload.test_shared_blocks import sharing_text

SESSION = {
    "turns": 2, "calls_per_turn": 3, "answer_tokens": 40, "result_tokens": 300, "message_tokens": 50,
    "tool_time_s": 0.1, "think_time_s": 1,
}  # fmt: skip


def hits_in_the_engine(workload: Workload, rows: Planned) -> list[int]:
    """Tokens that a cache which never evicts has of each prompt, one after the other, by its bytes."""
    cache, hits = KvCache(10**9, CACHE_BLOCK_TOKENS), []
    for arrival, call in zip(rows.arrival.tolist(), rows.call.tolist(), strict=True):
        id = join_id(arrival, call)
        chat = parse_chat(workload.body(id))
        text = b"".join([chat.tools_json, *[content.encode() for content in chat.contents]])
        keys = prompt_block_keys(
            text,
            preamble_tokens=workload.plan.preamble_tokens,
            bytes_per_token=workload.plan.bytes_per_token,
            block_tokens=CACHE_BLOCK_TOKENS,
        )
        tokens = workload.spec(id).prompt_tokens
        sequence = Sequence(id, 0.0, tokens, 1, keys)
        assert cache.admit(sequence, tokens)
        hits.append(sequence.computed)
        sequence.computed = tokens
        cache.share(sequence)
        cache.release(sequence)
    return hits


@pytest.mark.parametrize(
    "workload",
    [
        plan(CHAT).build(),
        plan({**CHAT, "shared_prefix": {"tokens": 300, "share": 0.7, "variants": 3}}).build(),
        plan({**CHAT, "name": "t", "tools": ["run_sql"]}, CHAT, bytes_per_token=3.7).build(),
        plan({**CHAT, "tools": ["run_sql"], "session": SESSION}, {**CHAT, "name": "x"}).build(),
        plan(prompts=documents(["one " * 300, "two " * 50], name="d")).build(),
        plan(trace=parse_trace(sharing_text(), name="t").arrays()).build(),
        plan(CHAT, preamble_tokens=0, users=2).build(),
    ],
    ids=["plain", "prefix", "tools", "sessions", "own", "trace", "closed"],
)
def test_the_ideal_cache_is_the_engine_s(workload: Workload) -> None:
    rows = planned(workload, count=150 if workload.mode == "closed" else None)
    found = hits_in_the_engine(workload, rows)
    assert sum(found) > 0 or workload.plan.preamble_tokens == 0
    # marks of one seed begin alike, for a few bytes: a block at most, and rarely
    apart = np.array(found) - rows.cached_tokens
    assert np.count_nonzero(apart) <= 0.03 * len(rows)
    assert np.abs(apart).max() <= CACHE_BLOCK_TOKENS


def test_later_calls_are_planned_with_the_sessions_own_lengths() -> None:
    workload = plan({**CHAT, "tools": ["run_sql"], "session": SESSION}).build()
    rows = planned(workload)
    assert len(rows) == 6 * len(workload.intended_ns)
    assert rows.call.tolist()[:6] == [0, 1, 2, 3, 4, 5]
    for k in range(0, len(rows), 7):
        spec = workload.spec(join_id(int(rows.arrival[k]), int(rows.call[k])))
        assert spec.prompt_tokens == rows.prompt_tokens[k]
    assert rows.cache_share(rows.call > 0) > rows.cache_share(rows.call == 0)


@pytest.mark.parametrize("name", scenario_names())
def test_each_scenario_reaches_the_cache_share_that_it_states(name: str) -> None:
    scenario = load_scenario(name)
    duration_s = 1800.0 if name == "soak" else None
    shares = [
        planned(build_plan(scenario, model=None, seed=seed, duration_s=duration_s).build()).cache_share()
        for seed in (1, 2, 3, 4, 5, 6, 7, 8)[: 3 if name == "agent_tools" else 8]
    ]
    assert scenario.cache_share is not None
    assert abs(float(np.mean(shares)) - scenario.cache_share) <= 0.015, shares
