"""The meter against a server that stamps what it sends. The laws hold however busy the machine is, and what
is bounded is bounded against stalls that the test itself makes.

A kernel stamp is made as the bytes arrive, over loopback in the sender's own send(). So it is never before
the server's stamp, and close after it unless the server lost its core just between the two, whatever the
client does meanwhile.
"""

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import gevent
import numpy as np
import pytest

from servebench.drive.selfcheck_load import Callers
from servebench.drive.selfcheck_truth import Numbers, Sent, fetch, reference_server, sent_streams
from servebench.meter.call import Target
from servebench.meter.engine_loop import EngineLoop
from servebench.meter.health import Health
from servebench.meter.record import RequestRecord

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the reference server uses epoll")
BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "meter_accuracy.py"
STREAMS, RUNS = 8, 3
CLOCK_NS = 20_000  # by which the two clocks' offset may be off
ROUNDED_NS = 1_000  # chunk times are handed out in whole microseconds


@dataclass(frozen=True)
class Stream:
    """A record, the chunk times that came with it (ns, on the server's clock), and the server's own side."""

    record: RequestRecord
    gaps_us: list[int]
    at_ns: Numbers
    sent: Sent
    t0_ns: int

    @property
    def errors_ns(self) -> Numbers:
        return self.at_ns - self.sent.stamps_ns


@dataclass(frozen=True)
class Run:
    streams: list[Stream]
    health: Health
    tokens: int

    def errors_ns(self) -> Numbers:
        return np.concatenate([stream.errors_ns for stream in self.streams])

    def p90_us(self) -> float:
        return float(np.percentile(np.abs(self.errors_ns()), 90)) / 1e3

    def coalesced_share(self) -> float:
        return self.health.coalesced / self.health.chunks


def measure(*, tokens: int, itl_ms: int, stall_ms: int, every_ms: int, seconds: float) -> Run:
    """Streams that the loop reads between stalls: nothing else runs in it for stall_ms of each every_ms."""
    with reference_server(None) as port:
        loop = EngineLoop(Target("127.0.0.1", port))
        callers = Callers(loop, tokens=tokens, itl_us=itl_ms * 1000)

        def stall() -> None:
            until_ns = time.monotonic_ns() + stall_ms * 1_000_000
            while time.monotonic_ns() < until_ns:
                pass

        timer = gevent.get_hub().loop.timer(every_ms / 1e3, every_ms / 1e3)
        try:
            for _ in range(STREAMS):
                callers.open()
                gevent.sleep(itl_ms / 1e3 / STREAMS)
            timer.start(stall)
            gevent.sleep(seconds)
            callers.stop()
            with gevent.Timeout(60):
                callers.over.wait()
        finally:
            timer.stop()
            timer.close()
            health = loop.health()
            loop.close()
        sent = sent_streams(fetch(port, "/stamps"))
    assert all(record.ok for record, _ in callers.results)
    streams = [
        Stream(
            record,
            list(chunk_us),
            (record.sent_ns or 0) + loop.t0_ns + 1000 * np.cumsum(np.array(chunk_us, dtype=np.int64)),
            sent[record.id],
            loop.t0_ns,
        )
        for record, chunk_us in callers.results
    ]
    return Run(streams, health, tokens)


@pytest.fixture(scope="module")
def stalled() -> list[Run]:
    """The loop stands still for 8 ms of each 19, which is less than the 40 ms between two chunks."""
    return [measure(tokens=10, itl_ms=40, stall_ms=8, every_ms=19, seconds=0.8) for _ in range(RUNS)]


@pytest.fixture(scope="module")
def starved() -> Run:
    """Stalls of 50 ms with a chunk each 4 ms: many arrive before one is read."""
    return measure(tokens=50, itl_ms=4, stall_ms=50, every_ms=60, seconds=0.6)


@pytest.fixture
def runs(stalled: list[Run], starved: Run) -> list[Run]:
    return [*stalled, starved]


def test_every_chunk_is_there_once_and_in_order(runs: list[Run]) -> None:
    for run in runs:
        assert len(run.streams) >= STREAMS
        for stream in run.streams:
            assert stream.record.chunks == len(stream.gaps_us) == len(stream.sent.stamps_ns) == run.tokens
            assert min(stream.gaps_us) >= 0, "stamps of one stream never go back"
        assert run.health.chunks == sum(stream.record.chunks for stream in run.streams)


def test_no_chunk_is_earlier_than_it_was_sent(runs: list[Run]) -> None:
    for run in runs:
        assert run.errors_ns().min() > -CLOCK_NS - ROUNDED_NS
        for stream in run.streams:
            assert stream.record.sent_ns is not None
            assert stream.record.sent_ns + stream.t0_ns < stream.sent.read_ns + CLOCK_NS


def test_the_record_and_the_chunk_times_say_the_same(runs: list[Run]) -> None:
    for run in runs:
        for stream in run.streams:
            record = stream.record
            assert record.first_token_ns is not None
            assert record.last_token_ns is not None
            assert abs(record.first_token_ns + stream.t0_ns - stream.at_ns[0]) <= ROUNDED_NS
            assert abs(record.last_token_ns + stream.t0_ns - stream.at_ns[-1]) <= ROUNDED_NS
            assert record.last_token_ns <= record.end_ns


def test_every_chunk_has_the_kernels_stamp(runs: list[Run]) -> None:
    for run in runs:
        assert run.health.kernel_stamps
        assert run.health.missing_stamps == 0
        assert sum(stream.record.user_stamps for stream in run.streams) == 0


def test_a_stall_of_the_loop_is_not_in_the_chunk_times(stalled: list[Run]) -> None:
    """What is read 0 to 8 ms late in two fifths of all cases would have its 90th percentile at 6 ms."""
    for run in stalled:
        lag_us = run.health.lag_p99_us
        assert lag_us is not None
        assert lag_us > 4_000, "the stalls were there"
    assert min(run.p90_us() for run in stalled) < 1_000
    assert min(float(np.median(np.abs(run.errors_ns()))) / 1e3 for run in stalled) < 500


def test_chunks_that_share_a_stamp_are_counted(runs: list[Run]) -> None:
    """The server makes one send of each, so no two have arrived within the same microsecond."""
    for run in runs:
        for stream in run.streams:
            assert stream.record.coalesced == sum(gap == 0 for gap in stream.gaps_us[1:])
        assert run.health.coalesced == sum(stream.record.coalesced for stream in run.streams)


def test_only_a_stall_longer_than_the_gap_lets_chunks_share_a_stamp(stalled: list[Run], starved: Run) -> None:
    assert min(run.coalesced_share() for run in stalled) <= 0.01
    assert starved.coalesced_share() > 0.05


def test_what_is_far_off_has_shared_its_stamp(starved: Run) -> None:
    """Chunks that the kernel has merged carry the last one's stamp, and it shows. At most a few others are
    off: those at whose send the server lost its core.
    """
    alone_and_off = 0
    for stream in starved.streams:
        shares = [False, *(gap == 0 for gap in stream.gaps_us[1:]), False]
        for error_ns, (before, after) in zip(stream.errors_ns.tolist(), pairwise(shares), strict=True):
            alone_and_off += error_ns > 3_000_000 and not before and not after
    assert alone_and_off <= 0.02 * starved.health.chunks


def test_the_benchmark_runs_and_misses_no_stamp() -> None:
    options = ["--streams", "20,40", "--seconds", "0.4", "--tokens", "15", "--runs", "1", "--json"]
    done = subprocess.run(
        [sys.executable, str(BENCHMARK), *options], capture_output=True, text=True, timeout=60, check=True
    )
    rows = json.loads(done.stdout)["streams"]
    assert list(rows) == ["20", "40"]
    for row in rows.values():
        assert row["requests"] >= 20
        assert row["failed"] == 0
        assert row["missing_stamps"] == 0
        assert row["chunk_error_us"]["p50"] > 0
        assert row["core_s_per_million_chunks"] > 0
