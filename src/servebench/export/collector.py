"""The Prometheus endpoint of a run, in a process of its own, so that no scrape touches the one that measures.

The parent binds the port (a port in use is known at once), then spawns this module with two inherited
sockets: the listening one, and one end of a socketpair that carries JSON lines. The child ends when that line
closes, whatever became of the parent.

Neither threads nor a hub are used here, and the sockets are the C ones that gevent does not patch: the handle
works the same in a Locust process and in a plain one, and send() never waits.
"""

import _socket
import os
import signal
import sys
import time
from collections.abc import Mapping
from typing import Any

import orjson

from servebench.errors import OperationError

LINGER_S = 15.0  # the longest that finish() keeps the endpoint up
_MAX_BACKLOG_BYTES = 32 << 20  # a child that takes nothing for this long is given up
_SECRETS = ("XAI_API_KEY", "SERVEBENCH_API_KEY")


class CollectorHandle:
    """The parent's end. Open it with start(); url is where Prometheus scrapes."""

    def __init__(self, *, control: _socket.socket, pid: int, host: str, port: int) -> None:
        self._control: _socket.socket | None = control
        self._pid: int | None = pid
        self._backlog = bytearray()
        self.host, self.port = host, port

    @classmethod
    def start(
        cls,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        labels: Mapping[str, str],
        info: Mapping[str, str] | None = None,
    ) -> "CollectorHandle":
        """Bind host:port (0 = any free port) and spawn the child.

        labels: run_id, scenario, model, target; info: version, seed, price_date of servebench_run_info.
        Raises OperationError where the port can't be had.
        """
        listener = _listen(host, port)
        parent_end, child_end = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM, 0)
        try:
            pid = _spawn(child_end.fileno(), listener.fileno())
        except OSError as error:
            parent_end.close()
            raise OperationError(f"the metrics collector could not be started: {error.strerror}") from error
        finally:
            bound_port: int = listener.getsockname()[1]
            child_end.close()
            listener.close()
        parent_end.setblocking(False)
        handle = cls(control=parent_end, pid=pid, host=host, port=bound_port)
        handle.send({"labels": dict(labels), "info": dict(info or {})})
        return handle

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/metrics"

    @property
    def alive(self) -> bool:
        return self._control is not None

    def send(self, update: Mapping[str, Any]) -> bool:
        """Hand over one update (see collector_state) without waiting; what does not fit goes with the next.

        False: the child is gone and the update is lost; the run need not care.
        """
        if self._control is None:
            return False
        self._backlog += (
            orjson.dumps(update, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS) + b"\n"
        )
        self._flush()
        if len(self._backlog) > _MAX_BACKLOG_BYTES:
            self._hang_up()
        return self._control is not None

    def finish(self, linger_s: float = LINGER_S) -> None:
        """End the child: at once if nobody is scraping, else after two more scrapes, linger_s at the latest.

        Waits for it with time.sleep, which yields to the hub where gevent has patched it.
        """
        linger_s = min(max(linger_s, 0.0), LINGER_S)
        give_up_s = time.monotonic() + linger_s + 5.0  # a slow machine may still be importing the child
        try:
            self.send({"finish_s": linger_s})
            while self._control is not None and time.monotonic() < give_up_s:
                self._flush()
                self._watch_for_end()
                time.sleep(0.02)
        finally:
            self._hang_up()
            self._reap()

    def _flush(self) -> None:
        while self._backlog and self._control is not None:
            try:
                sent = self._control.send(self._backlog)
            except BlockingIOError:
                return
            except OSError:
                self._hang_up()
                return
            del self._backlog[:sent]

    def _watch_for_end(self) -> None:
        """The child never writes: anything readable is its end."""
        if self._control is None:
            return
        try:
            self._control.recv(1)
        except BlockingIOError:
            return
        except OSError:
            pass
        self._hang_up()

    def _hang_up(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
            self._backlog.clear()

    def _reap(self) -> None:
        """Leave no zombie and no straggler. Under gevent the hub may have reaped it first."""
        pid, self._pid = self._pid, None
        give_up_s = time.monotonic() + 2.0
        while pid is not None:
            try:
                if os.waitpid(pid, os.WNOHANG)[0] == pid:
                    return
                if time.monotonic() > give_up_s:
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                    return
            except (ChildProcessError, ProcessLookupError):
                return
            time.sleep(0.02)


def _listen(host: str, port: int) -> _socket.socket:
    family = _socket.AF_INET6 if ":" in host else _socket.AF_INET
    listener = _socket.socket(family, _socket.SOCK_STREAM, 0)
    try:
        listener.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(64)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise OperationError(
            f"the metrics collector can't listen on {host}:{port} ({reason}); choose another port, or 0"
        ) from error
    return listener


def _spawn(control_fd: int, listen_fd: int) -> int:
    """The child's PID. Both sockets reach it under their own numbers; API keys do not reach it at all."""
    os.set_inheritable(control_fd, True)
    os.set_inheritable(listen_fd, True)
    devnull = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
    ]
    # -P: a file of the working directory must not stand in for a module of ours
    command = [sys.executable, "-P", "-m", "servebench.export.collector", str(control_fd), str(listen_fd)]
    environment = {name: value for name, value in os.environ.items() if name not in _SECRETS}
    return os.posix_spawn(sys.executable, command, environment, file_actions=devnull)


if __name__ == "__main__":
    from servebench.export.collector_server import serve

    serve(control_fd=int(sys.argv[1]), listen_fd=int(sys.argv[2]))
