"""Wire: a non-blocking socket, who is told of what it can do, and what is still to go out.

Reading is the connection's: it has the socket, too, and calls `recvmsg` itself, as often as chunks come.
"""

import errno
import socket
from collections.abc import Callable
from typing import Any, Final

from servebench.meter.owner import Owner
from servebench.meter.ready import Reading

_WRITE: Final = 2  # mask of the event loop
_QUICK_ACK: Final[int | None] = getattr(socket, "TCP_QUICKACK", None)  # Linux
_NOTHING: Final = memoryview(b"")


class Wire:
    """open(sock), put(data) and flush, listen, close; then it may be opened again.

    connected: the socket has taken bytes. idle: nothing is left to go out.
    """

    __slots__ = ("_engine", "_out", "_sock", "_writer", "connected")

    def __init__(self, engine: Owner) -> None:
        self._engine = engine
        self._sock: Any = None
        self._writer: Any = None
        self._out = _NOTHING
        self.connected = False

    @property
    def idle(self) -> bool:
        return not self._out

    def open(self, sock: Any) -> None:
        self._sock = sock
        self._writer = self._engine.hub.loop.io(sock.fileno(), _WRITE)

    def put(self, data: bytes) -> None:
        """To go out behind what is left from before."""
        self._out = memoryview(bytes(self._out) + data if self._out else data)

    def flush(self, writable: Callable[[], None]) -> bool:
        """Send what the socket takes; writable is called when it takes more. Whether anything went out.

        Raises OSError; what was left is dropped then.
        """
        try:
            sent = self._sock.send(self._out)
        except OSError as fault:
            early = fault.errno == errno.ENOTCONN and not self.connected  # macOS says so instead of EAGAIN
            if early or isinstance(fault, BlockingIOError):
                self._writer.start(writable)
                return False
            self._drop()
            raise
        self.connected = True
        self._out = self._out[sent:]
        if self._out:
            self._writer.start(writable)
        else:
            self._drop()
        return True

    def _drop(self) -> None:
        self._out = _NOTHING
        self._writer.stop()

    def refused(self) -> int:
        """Why a socket that was being connected is not, as an errno; 0 where it is."""
        code: int = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return code

    def listen(self, connection: Reading) -> None:
        """From now on it is told when there are bytes."""
        self._engine.ready.add(self._sock.fileno(), connection)

    def acknowledge_less(self) -> None:
        """Every second chunk, not each: Linux does so by itself on a connection that is asked again at once,
        until its timer (40 ms) has had to acknowledge.
        """
        if _QUICK_ACK is not None:
            self._sock.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 0)

    def close(self) -> None:
        """Free the socket, if there is one."""
        sock, self._sock = self._sock, None
        self._out = _NOTHING
        self.connected = False
        if sock is None:
            return
        self._engine.ready.remove(sock.fileno())
        self._writer.stop()
        self._writer.close()
        self._writer = None
        sock.close()
