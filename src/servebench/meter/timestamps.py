"""Kernel receive timestamps (SO_TIMESTAMPNS): when a segment reached this machine, however late it is read.

The kernel stamps with CLOCK_REALTIME; `offset_ns` brings that to the monotonic clock. Both clocks slew alike,
so the offset changes only when somebody sets the time; it is measured again each second all the same, and
`clock_steps` counts the changes, as the stamps of up to a second around one are off by as much. The kernel
switches stamping on some milliseconds after the first socket asks for it, and off after the last: `Keeper`
holds one such socket and waits until a stamp has really come.
"""

import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from struct import Struct
from typing import Any, Final

SO_TIMESTAMPNS: Final = 35  # asm-generic/socket.h; the socket module has no name for it
ANCILLARY_BYTES: Final = 32  # CMSG_SPACE(sizeof(struct timespec))
unpack_timespec: Final = Struct("@qq").unpack
_BETWEEN_TRIES_S: Final = 0.0005
_STEP_NS: Final = 20_000  # more than the measurement's own noise


def measure_offset_ns(tries: int) -> int:
    """CLOCK_REALTIME - CLOCK_MONOTONIC: the try with the shortest bracket wins (about 100 ns)."""
    best_width, best = 1 << 62, 0
    for _ in range(tries):
        before = time.monotonic_ns()
        real = time.time_ns()
        after = time.monotonic_ns()
        if after - before < best_width:
            best_width, best = after - before, real - (before + after) // 2
    return best


@dataclass(slots=True)
class StampClock:
    """kernel: whether reads carry kernel stamps here. A stamp minus offset_ns is on time.monotonic_ns's
    clock.
    """

    kernel: bool
    offset_ns: int = field(default_factory=lambda: measure_offset_ns(500))
    clock_steps: int = 0
    largest_step_ns: int = 0
    late_ns: int = 0  # how late reads were at most of late, on the long way of whichever connection

    def measure_again(self) -> None:
        offset_ns = measure_offset_ns(20)
        step_ns = abs(offset_ns - self.offset_ns)
        if step_ns > _STEP_NS:
            self.clock_steps += 1
            self.largest_step_ns = max(self.largest_step_ns, step_ns)
        self.offset_ns = offset_ns


def ask_for_stamps(sock: Any) -> bool:
    """Whether the socket will deliver kernel stamps."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    except OSError:
        return False
    return True


class Keeper:
    """A stamped loopback connection that stays open, so that the kernel keeps stamping. works: a stamp has
    come.
    """

    __slots__ = ("_ends", "works")

    def __init__(self, make_socket: Callable[..., Any], *, wait_s: float = 1.0) -> None:
        """make_socket: the unpatched socket class. Blocks for some ms; call it before load starts."""
        self._ends: tuple[Any, ...] = ()
        self.works = False
        near = make_socket(socket.AF_INET, socket.SOCK_STREAM)
        if not ask_for_stamps(near):
            near.close()
            return
        listener = make_socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            listener.bind(("127.0.0.1", 0))
            listener.listen(1)
            near.connect(listener.getsockname())
            far = listener.accept()[0]
        except OSError:
            near.close()
            return
        finally:
            listener.close()
        self._ends = (near, far)
        near.settimeout(wait_s)
        give_up = time.monotonic() + wait_s
        while not self.works and time.monotonic() < give_up:
            far.send(b"x")
            self.works = bool(near.recvmsg(16, ANCILLARY_BYTES)[1])
            if not self.works:  # it is a thread of the kernel's that switches stamping on, and needs a core
                time.sleep(_BETWEEN_TRIES_S)

    def close(self) -> None:
        for end in self._ends:
            end.close()
        self._ends = ()
