"""A whole run with --on-429 drop against a mock that limits its rate: what falls due in a pause is shed."""

import json
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from servebench.drive.launch import free_port
from tests.mock_server.server_process import running_mock

QUICK = str(Path(__file__).parent / "quick.yaml")
ERRORS = "error_rate < 1%"


@dataclass(frozen=True)
class Ended:
    """A run that is over: what it printed and wrote, its last scrape, and the mock's side of it."""

    code: int
    said: str
    summary: dict[str, Any]
    rows: list[dict[str, Any]]
    scrape: str
    exported: str
    journal: list[dict[str, Any]]

    def of(self, *outcomes: str) -> list[dict[str, Any]]:
        return [row for row in self.rows if row["outcome"] in outcomes]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """20 requests/s, of which the mock lets 5 pass and asks for a second's pause."""
    place = tmp_path_factory.mktemp("shed")
    (place / "limits.yaml").write_text("limits: {requests_per_s: 5, tokens_per_min: 100000000}\n")
    port = free_port()
    with running_mock("--tier", "grok-4.3", "--faults", str(place / "limits.yaml")) as url:
        process = subprocess.Popen(
            [
                sys.executable, "-m", "servebench", "run", QUICK, "--target", url, "--seed", "7", "--json",
                "--on-429", "drop", "--slo", ERRORS, "--goodput", "ttft:60000", "--metrics-port", str(port),
                "--processes", "1", "--grace", "10", "--out", "r",
            ],
            cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        scrape = ""
        while process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=2) as response:
                    scrape = response.read().decode()
            except OSError:
                pass
            time.sleep(0.2)
        stdout, said = process.communicate()
        with urllib.request.urlopen(f"{url}/admin/journal", timeout=10) as response:
            entries = [json.loads(line) for line in response.read().splitlines()]
    out = place / "r"
    return Ended(
        code=process.returncode,
        said=said,
        summary=json.loads(stdout),
        rows=[json.loads(line) for line in (out / "requests.jsonl").read_text().splitlines()],
        scrape=scrape,
        exported=(out / "metrics.om").read_text(),
        journal=entries,
    )


def last_values(text: str, name: str) -> dict[str, float]:
    """The last value of each series of a metric by its labels, of a scrape or of an export with times."""
    found = {}
    for line in text.splitlines():
        if line.startswith(name + "{"):
            labels, _, value = line.removeprefix(name + "{").partition("} ")
            found[labels] = float(value.split()[0])
    return found


def by_outcome(text: str) -> dict[str, float]:
    found = last_values(text, "servebench_requests_total")
    return {labels.partition('outcome="')[2].partition('"')[0]: value for labels, value in found.items()}


@pytest.mark.slow
def test_what_falls_due_in_a_pause_is_shed_and_never_reaches_the_target(run: Ended) -> None:
    shed, refused, answered = run.of("shed"), run.of("http_429"), run.of("success")
    assert len(shed) >= 5, run.said
    assert refused
    assert len(answered) >= 5
    assert len(shed) + len(refused) + len(answered) == len(run.rows)
    assert [row["id"] for row in run.rows] == list(range(len(run.rows))), "a hole in the ids is a lost record"
    assert {row["retry_after_s"] for row in refused} == {1.0}
    # each was dropped in a pause that some refusal asked for, as soon as it fell due
    pauses = [(row["end_s"], row["end_s"] + row["retry_after_s"]) for row in refused]
    for row in shed:
        assert row["intended_s"] <= row["end_s"]
        assert any(start_s <= row["end_s"] <= end_s + 0.5 for start_s, end_s in pauses), row
    # the other side: the mock has seen what was sent and nothing else, and nothing well within a pause
    assert Counter(entry["status"] for entry in run.journal) == {200: len(answered), 429: len(refused)}
    for row in (*refused, *answered):
        assert not any(start_s + 0.5 < row["sent_s"] < end_s - 0.01 for start_s, end_s in pauses), row


@pytest.mark.slow
def test_a_shed_record_has_its_plan_and_nothing_that_never_happened(run: Ended) -> None:
    never = (
        "sent_s", "first_token_s", "first_visible_s", "last_token_s", "status", "finish_reason", "request_id",
        "prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens", "billed_ticks",
        "sent_prompt_tokens", "connect_s", "tls_s", "retry_after_s", "retry_cost_usd", "service_tier",
        "server_ttft_s",
    )  # fmt: skip
    nought = (
        "chunks", "reasoning_chunks", "tool_calls", "user_stamps", "coalesced", "request_bytes",
        "response_bytes", "retries", "attempts", "throttled_s", "retried_s",
    )  # fmt: skip
    for row in run.of("shed"):
        assert {name: row[name] for name in never} == dict.fromkeys(never)
        assert {name: row[name] for name in nought} == dict.fromkeys(nought, 0)
        assert row["usage_source"] == "none"
        assert row["class"] in ("short", "thinking")
        assert row["model"] == "grok-4.3"
        assert row["asked_output_tokens"] > 0
        assert row["asked_prompt_tokens"] > 0
        assert float(row["cost_usd"]) == 0
        assert row["error"] == "dropped: the target had asked to wait (Retry-After)"


@pytest.mark.slow
def test_shed_requests_are_offered_and_failed_in_the_summary(run: Ended) -> None:
    counts = Counter(row["outcome"] for row in run.rows)
    whole = run.summary["classes"]["all"]
    assert {name: count for name, count in whole["outcomes"].items() if count} == dict(counts)
    assert whole["offered"] == len(run.rows)
    assert whole["completed"] == counts["success"]
    assert whole["failed"] == counts["shed"] + counts["http_429"]
    # every success is good, and nothing else is
    assert whole["attainment"] == pytest.approx(counts["success"] / len(run.rows))
    window_s = run.summary["run"]["window_s"][1] - run.summary["run"]["window_s"][0]
    assert whole["goodput_rps"] == pytest.approx(counts["success"] / window_s)
    assert whole["offered_rps"] == pytest.approx(len(run.rows) / window_s)
    # in the tail of TTFT at +Inf; the lag of what was never sent is undefined
    assert whole["ttft_s"]["n"] == len(run.rows)
    assert whole["client_lag_s"]["n"] == len(run.rows) - counts["shed"]
    if counts["success"] * 2 < len(run.rows):
        assert whole["ttft_s"]["p50"] == "+Inf"
    (gate,) = run.summary["gates"]
    assert (gate["n"], gate["over"]) == (len(run.rows), whole["failed"])
    assert gate["verdict"] == "FAIL"
    # the run did not carry out its plan, and says so
    assert run.code == 5, run.said
    reasons = [line for line in run.summary["invalid_reasons"] if "--on-429 drop" in line]
    assert reasons == [
        f"{counts['shed']} of {len(run.rows)} requests were refused by the load generator itself "
        "(budget, credits or --on-429 drop)"
    ]
    assert not [line for line in run.summary["invalid_reasons"] if "left no record" in line]
    assert run.summary["network"]["throttled"] == 0, "dropped, not kept waiting"


@pytest.mark.slow
@pytest.mark.parametrize("source", ["scrape", "exported"])
def test_the_exported_metrics_have_the_same_outcomes(run: Ended, source: str) -> None:
    text = getattr(run, source)
    counts = Counter(row["outcome"] for row in run.rows)
    found = by_outcome(text)
    assert {name: value for name, value in found.items() if value} == dict(counts)
    assert found["unsent"] == found["aborted"] == 0, "every outcome has a series"
    slo = last_values(text, "servebench_slo_offered_total")
    assert [value for labels, value in slo.items() if ERRORS in labels] == [len(run.rows)]
    good = last_values(text, "servebench_slo_good_total")
    assert [value for labels, value in good.items() if ERRORS in labels] == [counts["success"]]
    assert sum(last_values(text, "servebench_throttled_seconds_total").values()) == 0
