"""The wheel, the frame floor, the lag histogram and the kernel's clock."""

import random
import socket
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servebench.meter.deadlines import Wheel
from servebench.meter.framing import PATIENCE, FrameFloor
from servebench.meter.health import LagHistogram
from servebench.meter.timestamps import (
    ANCILLARY_BYTES,
    Keeper,
    StampClock,
    ask_for_stamps,
    measure_offset_ns,
    unpack_timespec,
)

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="kernel receive timestamps are Linux's")


@given(st.lists(st.integers(0, 5_000), max_size=60), st.lists(st.integers(1, 700), max_size=40))
def test_the_wheel_is_never_early_and_late_by_a_tick_at_most(times: list[int], steps: list[int]) -> None:
    wheel: Wheel[int] = Wheel(100, 0)
    for at_ns in times:
        wheel.add(at_ns, at_ns)
    seen: list[int] = []
    now_ns = last_ns = 0
    for step in [*steps, 6_000]:
        last_ns, now_ns = now_ns, now_ns + step
        due = wheel.due(now_ns)
        assert all(at_ns <= now_ns for at_ns in due)
        assert all(at_ns > last_ns - 100 for at_ns in due if at_ns > 0)
        seen += due
    assert sorted(seen) == sorted(times)
    assert wheel.due(now_ns + 10**9) == []


def test_the_wheel_survives_a_long_sleep_and_late_entries() -> None:
    wheel: Wheel[str] = Wheel(1_000, 10**12)
    wheel.add("late", 5)
    wheel.add("far", 10**12 + 10**11)
    assert wheel.due(10**12) == ["late"]
    assert wheel.due(10**13) == ["far"]
    wheel.add("past", 7)
    assert wheel.due(10**13 + 1_000) == ["past"]


@given(st.lists(st.integers(1, 500), min_size=1, max_size=300))
def test_the_floor_is_the_smallest_frame_of_late(sizes: list[int]) -> None:
    floor = FrameFloor()
    for place, size in enumerate(sizes):
        want = floor.learn(size)
        recent = sizes[max(0, place - PATIENCE + 1) : place + 1]
        assert want <= min(recent)
        assert want in sizes[: place + 1]


def test_the_floor_recovers_from_a_small_frame() -> None:
    floor = FrameFloor()
    for size in (250, 13, *[260, 251, 255] * 30):
        floor.learn(size)
    assert floor.want == 251


def test_lag_quantiles_against_numpy() -> None:
    draw = random.Random(7)
    values = [int(draw.lognormvariate(10, 2)) for _ in range(20_000)]
    lag = LagHistogram()
    for place, value in enumerate(values):
        lag.push(value)
        if place % 5_000 == 0:
            lag.fold()
    assert lag.count == 20_000
    for share in (0.01, 0.5, 0.9, 0.99, 0.999):
        true = float(np.quantile(values, share, method="inverted_cdf"))
        found = lag.quantile_ns(share)
        assert found is not None
        assert true * 0.999 - 1 <= found <= true * 1.13 + 2
    assert lag.quantile_ns(1.0) == lag.max_ns == max(values)


def test_lag_without_values_and_with_odd_ones() -> None:
    lag = LagHistogram()
    assert lag.quantile_ns(0.5) is None
    for value in (-5_000, 0, 1, 10**15):
        lag.push(value)
    assert lag.quantile_ns(1.0) == 10**15
    assert lag.count == 4


def test_the_offset_is_steady_and_a_step_is_counted() -> None:
    clock = StampClock(kernel=True)
    first_ns = clock.offset_ns
    clock.measure_again()
    assert abs(clock.offset_ns - first_ns) < 20_000
    assert clock.clock_steps == 0
    assert abs(time.time_ns() - time.monotonic_ns() - measure_offset_ns(50)) < 5_000_000
    clock.offset_ns += 3_000_000
    clock.measure_again()
    assert clock.clock_steps == 1
    assert clock.largest_step_ns == pytest.approx(3_000_000, abs=200_000)


@LINUX
def test_with_the_keeper_open_no_first_packet_goes_without_a_stamp() -> None:
    keeper = Keeper(socket.socket)
    assert keeper.works
    clock = StampClock(kernel=True)
    lags = []
    try:
        for _ in range(50):
            with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as near:
                assert ask_for_stamps(near)
                near.connect(listener.getsockname())
                far, _ = listener.accept()
                with far:
                    before_ns = time.monotonic_ns()
                    far.sendall(b"x")
                    time.sleep(0.001)
                    _, ancillary, _, _ = near.recvmsg(16, ANCILLARY_BYTES)
            assert ancillary
            seconds, nanoseconds = unpack_timespec(ancillary[0][2])
            lags.append(seconds * 10**9 + nanoseconds - clock.offset_ns - before_ns)
    finally:
        keeper.close()
    assert min(lags) > -5_000
    assert sorted(lags)[25] < 200_000
