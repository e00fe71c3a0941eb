"""Rig: what this process holds of the present test, and how a test ends that can't go on.

Locust runs one test at a time in a process and hands its listeners nothing but the environment.
"""

from locust.runners import WorkerRunner

import sys
import time
import traceback
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import gevent
from gevent.event import Event

from servebench.drive.clocks import Ping
from servebench.drive.conductor import Conductor
from servebench.drive.session import LoadSession
from servebench.drive.settings import RunSettings
from servebench.errors import ServebenchError


class Rig:
    """conductor: on the master or the single process. session: on a worker or the single process."""

    def __init__(self) -> None:
        self.scenario_name: str | None = None
        self.settings: RunSettings | None = None  # of the first test, whose file is gone by the next
        self.conductor: Conductor | None = None
        self.session: LoadSession | None = None
        self.shards: dict[str, int] = {}  # worker id -> shard
        self.ready: dict[int, dict[str, Any]] = {}
        self.pings: dict[int, list[Ping]] = {}
        self.own_run_dir: Path | None = None  # a worker's, where it does not share the master's
        self.idle: set[int] = set()
        self.progressed = Event()
        self.trouble: ServebenchError | None = None
        self.hurry = False
        self.sigints = 0
        self.mock_awaited = False

    def new_test(self) -> None:
        self.conductor, self.session, self.trouble = None, None, None
        self.shards, self.ready, self.pings, self.idle, self.hurry = {}, {}, {}, set(), False

    def wait_for(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Until condition holds, trouble comes, the user is in a hurry, or the time is up."""
        until = time.monotonic() + timeout_s
        while not condition() and self.trouble is None and not self.hurry:
            self.progressed.clear()
            if not self.progressed.wait(max(until - time.monotonic(), 0)):
                break
        return condition()


rig = Rig()


def guarded(function: Callable[..., None]) -> Callable[..., None]:
    """Locust swallows what its listeners raise; a run that can't go on must end, with one sentence."""

    @wraps(function)
    def call(environment: Any, *args: Any, **kwargs: Any) -> None:
        try:
            function(environment, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 - the edge: a sentence for the user, then the end of the run
            give_up(environment, error)

    return call


def give_up(environment: Any, error: Exception) -> None:
    """Say the sentence and quit with its exit code; a worker has its master do both."""
    if not isinstance(error, ServebenchError):
        traceback.print_exc()
        error = ServebenchError(f"internal error, please report it: {type(error).__name__}: {error}")
    runner = environment.runner
    if isinstance(runner, WorkerRunner):
        runner.send_message("servebench_trouble", {"error": str(error), "exit_code": error.exit_code})
        return
    for line in str(error).splitlines():
        sys.stderr.write(f"servebench: {line}\n")
    environment.process_exit_code = error.exit_code
    rig.trouble = error
    rig.progressed.set()
    gevent.spawn(quit_all, environment)


def quit_all(environment: Any) -> None:
    environment.runner.quit()
    if environment.web_ui:
        environment.web_ui.stop()


def end_test(environment: Any) -> None:
    """All is done: headless runs quit; under the web UI the test stops and the page stays."""
    if environment.runner.state in ("stopped", "stopping", "cleanup"):
        return
    if environment.web_ui is None:
        environment.runner.quit()
    else:
        environment.runner.stop()
