"""Streams follow the engine's clock: steps to a fraction of a millisecond, and no drift."""

import asyncio
import itertools
import json
import statistics
import time
from contextlib import ExitStack

import pytest

from mock_server.clock import EngineClock
from mock_server.deadline import LoopDeadline, make_deadline
from mock_server.realtime import RealtimeReplica, StepReport
from mock_server.sink import Sink
from servebench.catalog.load import load_catalog
from servebench.engine.replica import Replica
from servebench.engine.sequence import Sequence
from tests.mock_server.fast_mock import fast_mock, fast_tier
from tests.mock_server.metrics_page import total
from tests.mock_server.raw_http import chat_body, connect, events, read_answer, request_bytes
from tests.mock_server.server_process import running_mock


def token_times(url: str, tokens: int) -> list[float]:
    """When each content event of one stream was read."""
    body = chat_body(stream=True, max_completion_tokens=tokens, reasoning_effort="none")
    times = []
    with connect(url) as connection:
        connection.sendall(request_bytes("POST", "/v1/chat/completions", json.dumps(body).encode()))
        seen = b""
        while b"0\r\n\r\n" not in seen[-8:]:
            seen = seen[-8:] + connection.recv(65536)
            times.append(time.monotonic())
    return times[:tokens]


def test_a_stream_keeps_the_engines_pace() -> None:
    with fast_mock(fast_tier(0.01)) as mock:
        times = token_times(mock.url, 100)
    assert len(times) == 100
    late = sorted(t - times[0] - 0.01 * i for i, t in enumerate(times))
    assert late[50] - late[0] < 0.002
    assert times[-1] - times[0] == pytest.approx(0.99, abs=0.01)


def test_grok_4_3_alone_streams_at_the_engines_speed() -> None:
    tier = load_catalog().tier("grok-4.3")
    replica = Replica(tier, load_catalog().gpu(tier.serving.gpu_id))
    expected_s = replica.model.step(1, 200).total_s
    with running_mock("--tier", "grok-4.3") as url:
        times = token_times(url, 150)
    # the median: the steps' noise averages out, and a stall of the machine lengthens few of the gaps
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert statistics.median(gaps) == pytest.approx(expected_s, rel=0.03)


class CountingSink(Sink):
    def __init__(self) -> None:
        self.last_s = -1.0
        self.tokens = 0
        self.finished = asyncio.Event()

    def emit(self, tokens: int, second: int, finished: bool) -> None:
        self.tokens += tokens
        if finished:
            self.finished.set()


def replay(
    arrivals: list[tuple[int, int]], *, stall_s: float = 0.0
) -> tuple[list[StepReport], list[CountingSink]]:
    """Runs (prompt, output) sequences on a replica in real time; stall_s: holds the event loop up once."""

    async def run() -> tuple[list[StepReport], list[CountingSink]]:
        tier = fast_tier(0.002, step_noise_cv=0.05)
        reports: list[StepReport] = []
        gpu = load_catalog().gpu(tier.serving.gpu_id)
        realtime = RealtimeReplica(Replica(tier, gpu), asyncio.get_running_loop(), reports.append)
        sinks = [CountingSink() for _ in arrivals]
        for i, (prompt, output) in enumerate(arrivals):
            realtime.submit(Sequence(i, time.monotonic(), prompt, output), sinks[i])
        if stall_s:
            await asyncio.sleep(0.02)
            time.sleep(stall_s)
        await asyncio.wait_for(asyncio.gather(*[sink.finished.wait() for sink in sinks]), 10)
        realtime.close()
        return reports, sinks

    return asyncio.run(run())


def test_steps_follow_each_other_without_a_gap_even_after_a_stall() -> None:
    reports, sinks = replay([(100, 80), (100, 60)], stall_s=0.04)
    assert [sink.tokens for sink in sinks] == [80, 60]
    for before, after in itertools.pairwise(reports):
        assert after.step.start_s == before.step.end_s
    assert max(report.late_s for report in reports) > 0.02  # the stall was seen
    assert reports[-1].late_s < 0.01  # and made good
    gaps = sum(report.usual_gaps + len(report.odd_gaps_s) for report in reports)
    assert gaps == 80 + 60 - 2


def test_most_steps_are_served_within_a_millisecond() -> None:
    reports, _ = replay([(100, 200)])
    late = sorted(report.late_s for report in reports)
    assert late[0] >= 0  # never early
    assert late[len(late) // 2] < 0.001


def test_the_loops_own_timer_serves_where_the_kernel_has_none() -> None:
    async def run() -> list[float]:
        fired: list[float] = []
        done = asyncio.Event()

        def callback() -> None:
            fired.append(time.monotonic())
            done.set()

        late = []
        for make in (make_deadline, LoopDeadline):
            deadline = make(asyncio.get_running_loop(), callback)
            for wait_s in (0.01, -0.01, 0.003):
                done.clear()
                at_s = time.monotonic() + wait_s
                deadline.set(at_s + 60)
                deadline.set(at_s)  # the later call holds
                await asyncio.wait_for(done.wait(), 2)
                late.append(fired[-1] - at_s)
            deadline.close()
        assert len(fired) == 6
        return late

    assert max(asyncio.run(run())) < 0.1


def test_a_cancelled_plan_leaves_the_replica_ready() -> None:
    async def run() -> int:
        tier = fast_tier(0.001)
        reports: list[StepReport] = []
        realtime = RealtimeReplica(
            Replica(tier, load_catalog().gpu(tier.serving.gpu_id)), asyncio.get_running_loop(), reports.append
        )
        gone, kept = CountingSink(), CountingSink()
        realtime.submit(Sequence(0, time.monotonic() + 0.02, 10, 5), gone)  # not ready yet
        realtime.cancel(0)
        realtime.cancel(0)
        await asyncio.sleep(0.04)
        realtime.submit(Sequence(1, time.monotonic(), 10, 5), kept)
        await asyncio.wait_for(kept.finished.wait(), 2)
        realtime.close()
        assert gone.tokens == 0
        return kept.tokens

    assert asyncio.run(run()) == 5


def test_a_clock_that_slips_stands_still_and_never_goes_back() -> None:
    clock = EngineClock(50)
    before_s = clock.now_s()
    clock.slip(0.05)
    assert clock.now_s() == before_s
    assert clock.wall_s(before_s) > time.monotonic()
    time.sleep(0.06)
    assert clock.now_s() > before_s


def test_a_server_that_cannot_keep_up_slips_and_goes_as_fast_as_it_can() -> None:
    """At 5,000 times the speed no machine keeps up."""
    with running_mock("--tier", "grok-4.3", "--time-scale", "5000") as url, ExitStack() as stack:
        body = chat_body(stream=True, max_completion_tokens=400, reasoning_effort="none")
        connections = [stack.enter_context(connect(url)) for _ in range(20)]
        began_s = time.monotonic()
        for connection in connections:
            connection.sendall(request_bytes("POST", "/v1/chat/completions", json.dumps(body).encode()))
        for connection in connections:
            assert len(events(read_answer(connection)[2])) == 401
        took_s = time.monotonic() - began_s
        assert took_s < 30  # 8,000 chunks
        late_s = total(url, "mock_step_late_seconds_sum") / total(url, "mock_step_late_seconds_count")
        assert late_s < 1


class BrokenSink(CountingSink):
    def emit(self, tokens: int, second: int, finished: bool) -> None:
        if self.last_s > 0:  # from the second token on
            self.finished.set()
            raise ValueError("a defect")


def test_a_defect_in_one_answer_does_not_stop_the_others() -> None:
    told: list[object] = []

    async def run() -> CountingSink:
        tier = fast_tier(0.001)
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: told.append(context["exception"]))
        realtime = RealtimeReplica(
            Replica(tier, load_catalog().gpu(tier.serving.gpu_id)), loop, lambda report: None
        )
        sound = CountingSink()
        for i, sink in enumerate((BrokenSink(), sound)):
            realtime.submit(Sequence(i, time.monotonic(), 10, 20), sink)
        await asyncio.wait_for(sound.finished.wait(), 10)
        realtime.close()
        return sound

    assert asyncio.run(run()).tokens == 20
    assert [type(error) for error in told] == [ValueError] * 19
