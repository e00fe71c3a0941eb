"""The open-loop pacer: fires each arrival at its intended time on one absolute schedule.

It is never late by accumulation (each wait is to an absolute time) and never re-anchors after a stall (a
backlog is fired at once, each request still counting from its intended start). On Linux a timerfd at the
hub's highest priority fires SPIN_NS early and the rest is spun; elsewhere a hub timer stands in. However much
is due, the hub gets a turn each MOST_NS: answers are read, and a run of more than can be sent may be stopped.
"""

import ctypes
import os
import sys
import time
from collections.abc import Callable, Sequence

import gevent

SPIN_NS = 200_000
MOST_NS = 5_000_000
_TFD_NONBLOCK_CLOEXEC = 0o4000 | 0o2000000
_TFD_TIMER_ABSTIME = 1


class _Itimerspec(ctypes.Structure):
    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


class _AbsoluteTimer:
    """Calls back once at an absolute CLOCK_MONOTONIC time, from the gevent hub."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback
        self._loop = gevent.get_hub().loop
        self._fd = -1
        if sys.platform == "linux":
            self._libc = ctypes.CDLL(None, use_errno=True)
            self._fd = self._libc.timerfd_create(time.CLOCK_MONOTONIC, _TFD_NONBLOCK_CLOEXEC)
        if self._fd >= 0:
            self._spec = _Itimerspec()
            self._watcher = self._loop.io(self._fd, 1, True, self._loop.MAXPRI)
            self._watcher.start(self._expired)
        else:
            self._watcher = None

    def arm(self, at_ns: int) -> None:
        if self._fd >= 0:
            self._spec.value_s, self._spec.value_ns = divmod(max(at_ns, 1), 1_000_000_000)
            self._libc.timerfd_settime(self._fd, _TFD_TIMER_ABSTIME, ctypes.byref(self._spec), None)
            return
        if self._watcher is not None:
            self._watcher.close()
        self._watcher = self._loop.timer(max(at_ns - time.monotonic_ns(), 0) / 1e9)
        self._watcher.start(self._callback)

    def _expired(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return  # settime cleared the expiry between epoll and read
        self._callback()

    def close(self) -> None:
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Pacer:
    """Fires `fire(position, due_ns)` for each due time (CLOCK_MONOTONIC ns, sorted), in order.

    `prepare(position)` is called ahead, while there is time: building a large body must not delay its send.
    """

    def __init__(
        self,
        due_ns: Sequence[int],
        *,
        fire: Callable[[int, int], None],
        prepare: Callable[[int], None],
        finished: Callable[[], None],
    ) -> None:
        self._due_ns = due_ns
        self._fire = fire
        self._prepare = prepare
        self._finished = finished
        self._timer: _AbsoluteTimer | None = None
        self.position = 0  # arrivals fired so far

    def start(self) -> None:
        self._timer = _AbsoluteTimer(self._run)
        self._run()

    def stop(self) -> None:
        """No arrival fires after this; position says how many did."""
        if self._timer is not None:
            self._timer.close()
            self._timer = None

    def _run(self) -> None:
        due, now = self._due_ns, time.monotonic_ns
        until_ns = now() + MOST_NS
        while self._timer is not None and self.position < len(due):
            at_ns = due[self.position]
            if now() > until_ns:
                self._timer.arm(now())
                return
            self._prepare(self.position)
            early_ns = at_ns - now()
            if early_ns > SPIN_NS:
                self._timer.arm(at_ns - SPIN_NS)
                return
            while early_ns > 0:
                early_ns = at_ns - now()
            position, self.position = self.position, self.position + 1
            self._fire(position, at_ns)
        if self._timer is not None:
            self.stop()
            self._finished()
