"""The collector's child process: reads updates from its parent, answers scrapes, ends when it should.

Always `text/plain; version=0.0.4`: prometheus_client renames metrics for scrapers that negotiate OpenMetrics.
"""

import itertools
import signal
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import orjson
from prometheus_client import CollectorRegistry, generate_latest

from servebench.export.collector_state import CollectorState

_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_DEFAULT_INTERVAL_S = 15.0  # Prometheus's usual scrape interval, until two scrapes have shown the real one
_RECENT = 8  # scrapes that the observed interval is taken from


class ScrapeClock:
    """When the scrapes came: says how long to stay up after the end."""

    def __init__(self) -> None:
        self._times_s: list[float] = []
        self._count = 0
        self._lock = threading.Lock()

    def scraped(self, now_s: float) -> None:
        with self._lock:
            self._count += 1
            self._times_s = [*self._times_s[-_RECENT:], now_s]

    @property
    def count(self) -> int:
        with self._lock:
            return self._count

    def still_expected(self, now_s: float) -> bool:
        """Whether somebody scrapes regularly and has not stopped: the last one is under two intervals ago."""
        with self._lock:
            times = self._times_s
        if not times:
            return False
        gaps = sorted(later - earlier for earlier, later in itertools.pairwise(times))
        interval_s = max(gaps[len(gaps) // 2], 0.1) if gaps else _DEFAULT_INTERVAL_S
        return now_s - times[-1] <= 2 * interval_s + 0.5


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, listener: socket.socket, state: CollectorState, clock: ScrapeClock) -> None:
        super().__init__(("", 0), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.clock = clock
        self.registry = CollectorRegistry()
        self.registry.register(state)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 10.0  # a scraper that never sends its request holds a thread no longer than this

    def do_GET(self) -> None:
        if self.path.partition("?")[0] not in ("/metrics", "/"):
            self.send_error(404, "the metrics are at /metrics")
            return
        page = generate_latest(self.server.registry)
        self.send_response(200)
        self.send_header("Content-Type", _CONTENT_TYPE)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)
        self.server.clock.scraped(time.monotonic())

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: the terminal belongs to the run."""


def serve(*, control_fd: int, listen_fd: int) -> None:
    """Apply the updates of control_fd and answer on listen_fd until the parent has finished or gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group: the parent decides
    state, clock = CollectorState(), ScrapeClock()
    server = _Server(socket.socket(fileno=listen_fd), state, clock)
    answering = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    with socket.socket(fileno=control_fd) as control, control.makefile("rb") as lines:
        for line in lines:
            if not line.endswith(b"\n"):
                return  # the parent died in mid-line
            update = orjson.loads(line)
            state.apply(update)
            if not answering.is_alive():
                answering.start()  # not before the first update: it names the run, as each series does
            if "finish_s" in update:
                state.apply({"phase": "finished"})
                _linger(control, clock, update["finish_s"])
                return


def _linger(control: socket.socket, clock: ScrapeClock, linger_s: float) -> None:
    """Wait for two more scrapes, while they can be expected, the parent lives and there is time."""
    control.settimeout(0.05)
    end_s, wanted = time.monotonic() + linger_s, clock.count + 2
    while time.monotonic() < end_s and clock.count < wanted and clock.still_expected(time.monotonic()):
        try:
            if control.recv(1) == b"":
                return
        except TimeoutError:
            continue
        except OSError:
            return
