"""Deadline: call a function at a monotonic time, to some tens of microseconds.

asyncio's and uvloop's own timers have a granularity of a millisecond, a tenth of a decode step. Where the
platform has timerfd (Linux), the kernel's timer wakes the loop instead; elsewhere the loop's timer has to do.
"""

import asyncio
import ctypes
import os
import sys
import time
from collections.abc import Callable
from typing import Protocol

_CLOCK_MONOTONIC = 1
_NONBLOCK_CLOEXEC = os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0)
_ABSOLUTE = 1  # TFD_TIMER_ABSTIME
# nearer than this the loop is asked again and again: to set the kernel's timer, to be woken and to read it
# takes 20 to 40 us of a virtual machine, as much as several chunks
SPIN_S = 100e-6
# the kernel's timer is set so much earlier, and the rest waited for in the loop: being woken takes that long
LEAD_S = 120e-6


class Deadline(Protocol):
    """One pending time at most; setting another replaces it."""

    def set(self, at_s: float) -> None:
        """Calls back at at_s of time.monotonic(), at once where that has passed."""

    def close(self) -> None: ...


class _TimerSpec(ctypes.Structure):
    _fields_ = [
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    ]


class KernelDeadline:
    """On timerfd. Raises OSError where the kernel gives none."""

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.timerfd_create(_CLOCK_MONOTONIC, _NONBLOCK_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._loop = loop
        self._callback = callback
        self._spec = _TimerSpec()
        self._spec_pointer = ctypes.byref(self._spec)
        self._set_time = self._libc.timerfd_settime
        self._armed = False
        self._at_s = 0.0
        self._soon: asyncio.Handle | None = None
        loop.add_reader(self._fd, self._fire)

    def set(self, at_s: float) -> None:
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        if at_s - time.monotonic() > SPIN_S:
            self._at_s = at_s
            self._arm(max(1, int((at_s - LEAD_S) * 1e9)))
            return
        if self._armed:
            self._arm(0)
        self._at_s = at_s
        self._soon = self._loop.call_soon(self._run)

    def _arm(self, at_ns: int) -> None:
        """0 disarms it."""
        self._spec.value_s, self._spec.value_ns = divmod(at_ns, 1_000_000_000)
        self._set_time(self._fd, _ABSOLUTE, self._spec_pointer, None)
        self._armed = at_ns > 0

    def _run(self) -> None:
        if time.monotonic() < self._at_s:
            self._soon = self._loop.call_soon(self._run)
            return
        self._soon = None
        self._callback()

    def _fire(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:  # set again since it fired
            return
        self._armed = False
        self._run()

    def close(self) -> None:
        if self._soon is not None:
            self._soon.cancel()
        self._loop.remove_reader(self._fd)
        os.close(self._fd)


class LoopDeadline:
    """On the event loop's timer."""

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        self._loop = loop
        self._callback = callback
        self._handle: asyncio.TimerHandle | None = None

    def set(self, at_s: float) -> None:
        self.close()
        self._handle = self._loop.call_later(max(0.0, at_s - time.monotonic()), self._callback)

    def close(self) -> None:
        if self._handle is not None:
            self._handle.cancel()


def make_deadline(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> Deadline:
    if sys.platform == "linux":
        try:
            return KernelDeadline(loop, callback)
        except (OSError, AttributeError):  # an old kernel or a libc without it
            pass
    return LoopDeadline(loop, callback)
