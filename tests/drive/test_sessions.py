"""Sessions end to end: each later call follows the one before it and finds its prompt in the cache."""

import json
import subprocess
import sys
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

SCENARIO = Path(__file__).parent / "sessions.yaml"


@pytest.mark.slow
def test_calls_of_a_session_follow_one_another(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "servebench", "run", str(SCENARIO), "--out", "r", "--quiet"]
    done = subprocess.run(
        [*command, "--processes", "2"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode in (0, 5), done.stderr
    sessions: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for line in (tmp_path / "r" / "requests.jsonl").read_text().splitlines():
        row = json.loads(line)
        sessions[row["session"]].append(row)
    assert len(sessions) >= 7
    whole = [sorted(calls, key=lambda call: call["turn"]) for calls in sessions.values() if len(calls) == 3]
    assert len(whole) >= 5, "a session that began in time ran to its end"
    for calls in whole:
        assert [call["turn"] for call in calls] == [0, 1, 2]
        assert [call["tool_calls"] for call in calls] == [1, 1, 0]
        for before, after in pairwise(calls):
            assert after["intended_s"] == pytest.approx(before["end_s"] + 0.1, abs=1e-6)
            assert after["prompt_tokens"] > before["prompt_tokens"]
            assert after["cached_tokens"] >= before["prompt_tokens"] - 128, "all but the last block was seen"
