"""Virtual time fed the admission stamps of a real run gives exactly the engine times of that run."""

import json
import selectors
import socket
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mock_server.model import build_model
from servebench.catalog.load import load_catalog
from servebench.catalog.profile import profile_text, with_profiles
from servebench.engine.replica import Replica
from servebench.engine.sequence import Sequence
from tests.mock_server.raw_http import ask, chat_body, connect, request_bytes
from tests.mock_server.server_process import running_mock

STREAMS = 200
CONTENT = b'"content":"'
SEED = 11


def stream_all(url: str) -> dict[int, list[float]]:
    """time.monotonic() of each content event, by the stream's number of tokens, which no two share."""
    selector = selectors.DefaultSelector()
    times: dict[int, list[float]] = {}
    for i in range(STREAMS):
        tokens = 10 + i
        body = chat_body(
            f"shared beginning {'of all ' * 40} {'own words ' * (i % 7) * 30}",
            stream=True,
            max_completion_tokens=tokens,
            reasoning_effort="none",
        )
        connection = connect(url)
        connection.sendall(request_bytes("POST", "/v1/chat/completions", json.dumps(body).encode()))
        times[tokens] = []
        selector.register(connection, selectors.EVENT_READ, (times[tokens], bytearray()))
        until = time.monotonic() + 0.004 * (i % 3)
        while (left := until - time.monotonic()) > 0:
            read_ready(selector, left)
    deadline = time.monotonic() + 200
    while selector.get_map() and time.monotonic() < deadline:
        read_ready(selector, 1.0)
    assert not selector.get_map()
    return times


def read_ready(selector: selectors.BaseSelector, timeout_s: float) -> None:
    for key, _ in selector.select(timeout_s):
        connection = key.fileobj
        assert isinstance(connection, socket.socket)
        data = connection.recv(1 << 20)
        times, carried = key.data
        seen = carried + data
        times += [time.monotonic()] * seen.count(CONTENT)
        carried[:] = seen[1 - len(CONTENT) :]
        if not data or seen.endswith(b"0\r\n\r\n"):
            selector.unregister(connection)
            connection.close()


def replay(replica: Replica, rows: list[Mapping[str, Any]]) -> tuple[list[float], dict[int, Sequence]]:
    """The ends of all steps, and the sequences, in virtual time."""
    made = {
        row["id"]: Sequence(
            row["id"], row["arrival_s"], row["prompt_tokens"], row["output_tokens"], tuple(row["block_keys"])
        )
        for row in rows
    }
    coming = deque(sorted((row["ready_s"], row["id"]) for row in rows))
    ends: list[float] = []
    now_s = 0.0
    while True:
        start_s = replica.next_start_s(now_s)
        while coming and (start_s is None or coming[0][0] <= start_s):
            ready_s, sequence_id = coming.popleft()
            replica.submit(made[sequence_id], now_s=ready_s)
            start_s = replica.next_start_s(now_s)
        if start_s is None:
            return ends, made
        step = replica.start_step(start_s)
        assert step is not None
        replica.finish_step(step, emit=False)
        now_s = step.end_s
        ends.append(now_s)


@pytest.mark.parametrize("drafts", [0, 3])
def test_two_hundred_real_streams_have_the_times_of_virtual_time(drafts: int, tmp_path: Path) -> None:
    tier = load_catalog().tier("grok-4.3")
    serving = replace(tier.serving, max_num_seqs=150, draft_tokens=drafts, accepted_tokens=1 + drafts / 2)
    path = tmp_path / "profile.yaml"
    path.write_text(profile_text(replace(tier, serving=serving)), encoding="utf-8")
    with running_mock("--profile", str(path), "--seed", str(SEED)) as url:
        received = stream_all(url)
        log = json.loads(ask(url, "/debug/engine?model=grok-4.3", method="GET")[2])
    (seen,) = log["models"]["grok-4.3"]
    rows = seen["sequences"]
    assert len(rows) == STREAMS

    catalog, _ = with_profiles(load_catalog(), [path])
    (replica,) = build_model(catalog, catalog.tier("grok-4.3"), replicas=1, seed=SEED).replicas
    ends, sequences = replay(replica, rows)
    assert ends == seen["step_ends_s"]  # to the last bit
    for row in rows:
        made = sequences[row["id"]]
        for name in ("ready_s", "admitted_s", "first_token_s", "finished_s", "cached_tokens", "preemptions"):
            assert getattr(made, name) == row[name], name

    assert all(late_s >= 0 for late_s in seen["step_late_s"])
    if log["slipped_s"] == 0.0:  # else the machine was so busy that the engine's clock left the wall's
        check_the_wall_clock(received, rows, ends, drafts=drafts)


def check_the_wall_clock(
    received: dict[int, list[float]], rows: list[Mapping[str, Any]], ends: list[float], *, drafts: int
) -> None:
    """No event comes before its engine time. How long after it, benchmarks/emission_timing.py shows."""
    for row in rows:
        times, first = received[row["output_tokens"]], ends.index(row["first_token_s"])
        if drafts:
            assert len(times) <= row["output_tokens"]
        else:
            assert len(times) == row["output_tokens"]
            assert all(t >= end_s for t, end_s in zip(times, ends[first:], strict=False))
        assert times[0] >= row["first_token_s"]
        assert times[-1] >= row["finished_s"]
