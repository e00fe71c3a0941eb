"""The faults document: everything that is wrong with one comes out at once, place by place."""

from pathlib import Path

import pytest

from mock_server.fault_rules import KINDS, parse_config, read_config_file
from servebench.errors import UsageError
from tests.mock_server.test_process import run

MODELS = {"grok-4.3": 2, "grok-4.3-latest": 2}


def problems(**document: object) -> list[str]:
    with pytest.raises(UsageError) as caught:
        parse_config("file", document, MODELS)
    return list(caught.value.problems)


def test_all_errors_come_at_once() -> None:
    found = problems(
        faults=[
            {"kind": "status", "status": 200},
            {"kind": "stall", "for_s": -1, "sometimes": True},
            {"kind": "nonsense"},
            {"kind": "cut", "rate": 1.5},
            {"kind": "wrong_usage", "factor": 1},
            {"kind": "cut", "from_s": 5, "until_s": 5},
            {"kind": "cut", "keys": ["xai-secret-key"]},
        ],
        limits={"tier": "T9"},
        queue_limit=-1,
        extra=1,
    )
    for place in (
        "faults.0.status.status", "faults.1.stall.for_s", "faults.1.stall.sometimes", "faults.2",
        "faults.3.cut.rate", "faults.4.wrong_usage", "faults.5.cut", "faults.6.cut.keys.0", "limits.tier",
        "queue_limit", "extra",
    ):  # fmt: skip
        assert any(line.startswith(f"file: {place}: ") for line in found), (place, found)
    assert len(found) == 11
    assert "nonsense" in next(line for line in found if "faults.2" in line)


def test_models_and_replicas_that_are_not_served_are_named() -> None:
    found = problems(
        faults=[
            {"kind": "cut", "models": ["grok-9"]},
            {"kind": "replica_crash", "down_s": 1, "at_s": 1, "replica": 2},
        ]
    )
    assert found[0].startswith("file: faults.0.cut.models: grok-9 is not served here; served: grok-4.3")
    assert found[1].startswith("file: faults.1.replica_crash.replica: no replica 2, the last is 1")


@pytest.mark.parametrize("limits", [{}, {"tier": "T0", "requests_per_s": 1}, {"requests_per_s": 1}])
def test_limits_are_a_tier_or_both_figures(limits: dict[str, object]) -> None:
    assert len(problems(limits=limits)) == 1


def test_every_kind_has_a_rule() -> None:
    needed = {
        "status": {"status": 500}, "cold_start": {"for_s": 1}, "slow_ttft": {"delay_s": 1},
        "stall": {"for_s": 1}, "wrong_usage": {"factor": 2}, "replica_crash": {"down_s": 1},
    }  # fmt: skip
    rules = [{"kind": kind} | needed.get(kind, {}) for kind in KINDS]
    config = parse_config("file", {"faults": rules}, MODELS)
    assert tuple(rule.kind for rule in config.faults) == KINDS


def test_the_command_ends_with_2_and_every_problem(tmp_path: Path) -> None:
    path = tmp_path / "faults.yaml"
    text = "faults:\n  - {kind: cut, rate: 2}\n  - {kind: stall}\nqueue_limit: none\n"
    path.write_text(text, encoding="utf-8")
    done = run("--tier", "grok-4.3", "--faults", str(path))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.count("faults.yaml: ") == 3
    path.write_text("faults: [", encoding="utf-8")
    with pytest.raises(UsageError, match="not valid YAML"):
        read_config_file(path, MODELS)
