"""The selfcheck: its arithmetic by known truths, its verdicts by limits, the verb on a real server."""

import json
import os
import subprocess
import sys
from array import array
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servebench.drive import selfcheck_store
from servebench.drive.selfcheck import capacity, middle, shortfalls
from servebench.drive.selfcheck_load import pacing_row
from servebench.drive.selfcheck_truth import Numbers, compare, sent_streams
from servebench.errors import OperationError
from servebench.export.report import report_html
from servebench.meter.record import Outcome, RequestRecord
from servebench.results.run_directory import read_run
from servebench.results.summary import summarise_run
from tests.results import made_run

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the reference server uses epoll")
T0_NS = 5_000_000_000


def measured(sent_ns: int, times_ns: list[int], *, call_id: int = 0) -> tuple[RequestRecord, "array[int]"]:
    """What the meter hands out for a stream of these chunk times."""
    since_us = [(at - sent_ns) // 1000 for at in times_ns]
    steps = array("i", [since_us[0], *(b - a for a, b in pairwise(since_us))])
    record = RequestRecord(
        id=call_id, class_name="chat", session=None, turn=0, model="reference", intended_ns=0,
        sent_ns=sent_ns - T0_NS, first_token_ns=None, first_visible_ns=None, last_token_ns=None,
        end_ns=0, outcome=Outcome.SUCCESS, chunks=len(times_ns), coalesced=1,
    )  # fmt: skip
    return record, steps


def dump(*streams: tuple[int, int, list[int]]) -> Numbers:
    """As the server's /stamps has it."""
    return np.array([n for i, read, at in streams for n in (i, read, len(at), *at)], dtype=np.int64)


@given(st.lists(st.integers(1, 50_000), min_size=2, max_size=40), st.integers(0, 900), st.integers(0, 900))
def test_errors_are_the_difference_of_the_two_clocks(
    gaps_us: list[int], request_us: int, answer_us: int
) -> None:
    """A request that takes request_us to be read and chunks that take answer_us each: both come out."""
    sent_ns = T0_NS + 1_000_000
    read_ns = sent_ns + 1000 * request_us
    stamps = [read_ns + 1000 * total for total in np.cumsum(gaps_us).tolist()]
    seen = [at + 1000 * answer_us for at in stamps]
    errors = compare([measured(sent_ns, seen)], sent_streams(dump((0, read_ns, stamps))), T0_NS)
    assert set(errors.chunk_ns.tolist()) == {1000 * answer_us}
    assert errors.itl_ns.tolist() == [0] * (len(stamps) - 1)
    assert errors.ttft_ns.tolist() == [1000 * (request_us + answer_us)]
    row = errors.row()
    assert row["chunk_error_us"] == {"p50": answer_us, "p99": answer_us}
    assert row["coalesced_share"] == round(1 / len(stamps), 6)


def test_streams_are_matched_by_id_and_a_late_chunk_shows() -> None:
    starts = {3: T0_NS + 1_000_000, 7: T0_NS + 9_000_000}
    streams = {i: [at + 20_000_000, at + 40_000_000] for i, at in starts.items()}
    late = [streams[7][0], streams[7][1] + 3_000_000]
    results = [measured(starts[7], late, call_id=7), measured(starts[3], streams[3], call_id=3)]
    errors = compare(results, sent_streams(dump(*((i, starts[i], streams[i]) for i in (3, 7)))), T0_NS)
    assert sorted(errors.chunk_ns.tolist()) == [0, 0, 0, 3_000_000]
    assert sorted(errors.itl_ns.tolist()) == [0, 3_000_000]
    assert errors.row()["over_1ms_share"] == 0.25


def test_nothing_measured_is_an_error() -> None:
    with pytest.raises(OperationError, match="too busy"):
        compare([], {}, 0)


def row(*, p99: float = 5.0, coalesced: float = 0.0, failed: int = 0, missing: int = 0) -> dict[str, Any]:
    return {
        "chunk_error_us": {"p50": 2.0, "p99": p99},
        "coalesced_share": coalesced,
        "failed": failed,
        "missing_stamps": missing,
    }


def late(p99_us: float) -> dict[str, Any]:
    return {"late_us": {"p50": 10.0, "p99": p99_us}}


def test_the_capacity_is_the_largest_count_within_the_limits() -> None:
    assert capacity({"100": row(), "500": row(p99=50.0), "1000": row(p99=51.0)}) == 500
    assert capacity({"100": row(p99=60.0), "500": row()}) == 500  # an idle core's wake-ups pass with load
    assert capacity({"100": row(coalesced=0.01)}) is None
    assert capacity({"100": row(failed=1)}) is None


def test_reasons_name_what_falls_short() -> None:
    good = {"100": row(), "500": row(p99=99.0)}
    assert shortfalls(good, {"100": late(70.0), "500": late(20_000.0)}) == []
    assert "chunk error p99 99.0 us" in shortfalls({"500": row(p99=99.0)}, {})[0]
    assert "kernel's stamp" in shortfalls({"100": row(missing=2)}, {})[0]
    assert "20000 us at 100/s" in shortfalls({}, {"100": late(20_000.0)})[0]


def test_the_median_is_of_each_number_and_null_is_kept() -> None:
    rows = [
        {"a": 1, "b": {"p50": 3.0, "p99": None}},
        {"a": 5, "b": {"p50": 1.0, "p99": 2.0}},
        {"a": 2, "b": {"p50": 2.0, "p99": 9.0}},
    ]
    assert middle(rows) == {"a": 2, "b": {"p50": 2.0, "p99": None}}


def test_a_slow_pacer_shows_in_the_rate() -> None:
    due = [n * 1_000_000 for n in range(101)]
    exact = pacing_row(due, [at + 50_000 for at in due], np.full(101, 50_000))
    assert exact["rate_error"] == 0
    assert exact["late_us"] == {"p50": 50.0, "p99": 50.0}
    drifting = pacing_row(due, [round(at * 1.01) for at in due], np.zeros(101, dtype=np.int64))
    assert drifting["rate_error"] == pytest.approx(1 / 1.01 - 1, rel=1e-4)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path


def test_the_store_keeps_one_result_a_machine(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert selfcheck_store.stored_selfcheck() is None
    here = selfcheck_store.this_machine()
    for machine, capacity_streams in ((here, 500), ({**here, "kernel": "Linux 0.1"}, 7), (here, 1000)):
        selfcheck_store.store_selfcheck({"machine": machine, "capacity_streams": capacity_streams})
    kept = selfcheck_store.stored_selfcheck()
    assert kept is not None
    assert kept["capacity_streams"] == 1000
    assert len(json.loads(selfcheck_store.store_path().read_text())["machines"]) == 2
    monkeypatch.setattr(selfcheck_store, "this_machine", lambda: {**here, "cores": 999})
    assert selfcheck_store.stored_selfcheck() is None


@pytest.mark.parametrize("content", ["", "[]", '{"machines": 3}', "{"])
def test_a_broken_store_is_no_result_and_can_be_written_again(state: Path, content: str) -> None:
    path = selfcheck_store.store_path()
    path.parent.mkdir(parents=True)
    path.write_text(content)
    assert selfcheck_store.stored_selfcheck() is None
    good = {"machine": selfcheck_store.this_machine(), "date": "2026-01-01"}
    selfcheck_store.store_selfcheck(good)
    assert selfcheck_store.stored_selfcheck() == good
    selfcheck_store.store_selfcheck({**good, "streams": {"500": {"chunk_error_us": "5"}}})
    assert selfcheck_store.stored_selfcheck() is None, "edited: no page could show it"


def test_the_page_shows_the_selfcheck_of_its_machine(tmp_path: Path) -> None:
    made = made_run.make(40)
    made_run.write(tmp_path / "without", made)
    unknown = {"date": "2026-11-24T09:00:00+00:00", "streams": {"500": row(p99=4.2)}}
    made_run.write(tmp_path / "with", made, selfcheck={**unknown, "limits": {"chunk_error_p99_us": 50.0}})
    pages = {}
    for name in ("with", "without"):
        run = read_run(tmp_path / name)
        pages[name] = report_html(run, summarise_run(run))
    assert "selfcheck of 2026-11-24: chunk times off by, p99, 500 streams" in pages["with"]
    assert "4.2 µs" in pages["with"]
    assert "not measured on this machine" in pages["without"]


def run_verb(*options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "servebench", "selfcheck", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=dict(os.environ))


@LINUX
def test_the_verb_measures_prints_and_stores(state: Path) -> None:
    done = run_verb("--streams", "20,40", "--seconds", "0.5", "--json")
    assert done.returncode in (0, 5), done.stderr  # 5: others use this machine as well
    result = json.loads(done.stdout)
    assert bool(result["reasons"]) == (done.returncode == 5)
    assert list(result["streams"]) == ["20", "40"]
    for count, figures in result["streams"].items():
        assert figures["failed"] == figures["missing_stamps"] == 0
        assert figures["requests"] >= int(count)
        assert figures["chunk_error_us"]["p50"] > 0
        if done.returncode == 0:  # a starved machine says so, and by how much
            assert figures["chunk_error_us"]["p50"] < 200
            assert figures["itl_error_us"]["p50"] < 100
        assert figures["ttft_error_us"]["p50"] > 0
        assert figures["core_s_per_million_chunks"] > 0
        assert figures["chunks_per_s"] == pytest.approx(50 * int(count), rel=0.3)
    assert list(result["pacing"]) == ["100", "500"]
    for figures in result["pacing"].values():
        assert 0 <= figures["late_us"]["p50"] <= figures["late_us"]["p99"]
    kept = json.loads((state / "servebench" / "selfcheck.json").read_text())["machines"]
    assert list(kept.values()) == [result]


@LINUX
def test_bad_stream_counts_are_a_usage_error(state: Path) -> None:
    done = run_verb("--streams", "100,many")
    assert done.returncode == 2
    assert "stream counts" in done.stderr
    assert not (state / "servebench").exists()
