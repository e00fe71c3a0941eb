"""Which requests meet a fault: by model, key, stream and time; the same ones meet the same."""

import json
from collections.abc import Iterator

import pytest

from mock_server.telemetry import key_id_of
from tests.mock_server.faults_seen import PATH, inject, last_entry, short
from tests.mock_server.raw_http import ask, events
from tests.mock_server.server_process import running_mock


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_mock("--tier", "grok-4.3", "--replicas", "2", "--time-scale", "20") as url:
        yield url


def test_several_together_by_model_key_stream_and_time(url: str) -> None:
    key_id = key_id_of("other")
    inject(
        url,
        {"kind": "no_done", "keys": [key_id]},
        {"kind": "no_usage", "keys": [key_id], "models": ["grok-4.3-latest"]},
        {"kind": "status", "status": 500, "stream": False},
        {"kind": "cut", "from_s": 60},
    )
    assert events(ask(url, PATH, short())[2])[-1]["usage"]
    body = ask(url, PATH, short(), headers={"Authorization": "Bearer other"})[2]
    assert b"[DONE]" not in body
    assert b'"usage"' not in body
    assert last_entry(url)["faults"] == ["no_usage", "no_done"]
    assert ask(url, PATH, short(stream=False))[0] == 500


def outcomes(url: str, count: int = 40) -> list[int]:
    return [ask(url, PATH, short(False, 1, f"request {i % 20}"))[0] for i in range(count)]


def test_the_same_requests_meet_the_same_faults_and_a_retry_draws_again(url: str) -> None:
    rule = {"kind": "status", "status": 500, "rate": 0.4}
    inject(url, rule, seed=1)
    first = outcomes(url)
    assert 500 in first
    assert 200 in first
    assert first[:20] != first[20:]
    assert ask(url, "/admin/reset", {})[0] == 200
    assert outcomes(url) == first
    inject(url, rule, seed=2)
    assert outcomes(url) != first


def test_a_bad_document_changes_nothing(url: str) -> None:
    inject(url, {"kind": "status", "status": 418})
    status, _, body = ask(url, "/admin/config", {"faults": [{"kind": "cut", "rate": 2}], "queue_limit": -1})
    assert status == 400
    assert json.loads(body)["error"].count("\n") == 1
    assert ask(url, PATH, short())[0] == 418
    assert ask(url, "/admin/config", b"{")[0] == 400
    shown = json.loads(ask(url, "/admin/config", method="GET")[2])
    assert shown["faults"][0]["status"] == 418
    assert shown["in_force_s"] >= 0
    status, _, again = ask(url, "/admin/config", shown)  # what is shown may be sent back
    assert (status, json.loads(again)["faults"]) == (200, shown["faults"])
    inject(url)
    assert ask(url, PATH, short())[0] == 200
