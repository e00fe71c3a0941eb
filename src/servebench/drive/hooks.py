"""The one place where Locust's events meet servebench.

Order in Locust: locustfile import, init_command_line_parser, fork (--processes), init, then per test
test_start (master first, before the spawn messages), test_stopping, test_stop. The master ships the plan
and waits until each worker has built its shard; then it sends T0. It collects in test_stopping, because
quit() leaves only half a second after that.
"""

from locust import events
from locust.runners import MasterRunner, WorkerRunner

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import gevent

from servebench.drive.conductor import Conductor, watch
from servebench.drive.finish import import_ahead
from servebench.drive.garbage import spare_the_load
from servebench.drive.join import hold_workers, let_workers_join, switch_stamps_on
from servebench.drive.launch import mock_url
from servebench.drive.master import (
    MASTER_MESSAGES,
    START_LEAD_NS,
    await_workers,
    collect,
    start_workers,
    watch_workers,
)
from servebench.drive.options import add_arguments, in_own_directory, settings_from_options
from servebench.drive.rig import end_test, guarded, quit_all, rig
from servebench.drive.settings import RunSettings
from servebench.drive.shard import WORKER_MESSAGES, Reporter, build_session, leave
from servebench.drive.web_tab import add_tab
from servebench.results.exit_code import INTERRUPTED
from servebench.workload.prompts import corpus_of

_IMPORT_AHEAD_S = 1.0  # after T0: the workers are busy with their first requests, the master is not


def register() -> None:
    """Listen to Locust's events. Once a process, at the import of a locustfile."""
    switch_stamps_on()
    events.init_command_line_parser.add_listener(on_parser)
    events.init.add_listener(on_init)
    events.test_start.add_listener(on_test_start)
    events.test_stopping.add_listener(on_test_stopping)
    events.quit.add_listener(on_quit)


def on_parser(parser: Any, **_: Any) -> None:
    add_arguments(parser)
    if "--servebench-run" in sys.argv[:-1]:
        _ahead_of_fork(Path(sys.argv[sys.argv.index("--servebench-run") + 1]))


def _ahead_of_fork(run_file: Path) -> None:
    """What master and workers both need is made once; Locust builds its parser before it forks."""
    if rig.settings is not None:  # and again for its web page
        return
    rig.settings = RunSettings.model_validate_json(run_file.read_text(encoding="utf-8"))
    corpus_of(rig.settings.plan.seed)
    if "--processes" in sys.argv:  # else the master is elsewhere, or there is none
        hold_workers()


def on_init(environment: Any, runner: Any, web_ui: Any = None, **_: Any) -> None:
    if isinstance(runner, WorkerRunner):
        for name, (handler, concurrent) in WORKER_MESSAGES.items():
            runner.register_message(name, handler, concurrent=concurrent)
        _await_mock(environment.parsed_options.servebench_mock, look=False)
    else:
        let_workers_join()
        for name, listener in MASTER_MESSAGES.items():
            runner.register_message(name, listener)
    if web_ui is not None:
        add_tab(web_ui, lambda: rig.conductor)
    gevent.signal_handler(signal.SIGINT, on_sigint, environment)
    spare_the_load()
    if isinstance(runner, MasterRunner) and environment.parsed_options.processes:
        await_workers(environment)


def on_sigint(environment: Any) -> None:
    """First Ctrl-C: drain, then quit. Second: no grace. Third: leave. Workers leave it to the master."""
    rig.sigints += 1
    if rig.sigints >= 3:
        sys.stderr.write("\nservebench: left at once; the records so far are in the run directory\n")
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)
    if isinstance(environment.runner, WorkerRunner):
        return
    if rig.conductor is not None:
        rig.conductor.interrupted = True
    if rig.sigints == 2:
        rig.hurry = True
        rig.progressed.set()
        if rig.session is not None:
            rig.session.hurry()
        return
    sys.stderr.write("\nservebench: stopping; waiting for what is in flight (Ctrl-C again to cut it short)\n")
    gevent.spawn(quit_all, environment)


def _await_mock(fds: str, *, look: bool = True) -> None:
    """Until the mock that `servebench run` began listens; what it says later goes nowhere. Raises
    OperationError.
    """
    if not fds or rig.mock_awaited:
        return
    rig.mock_awaited = True
    out_fd, err_fd = map(int, fds.split(","))
    try:
        if look:
            mock_url(out_fd, err_fd)
    finally:
        os.close(out_fd)
        os.close(err_fd)


@guarded
def on_test_start(environment: Any, **_: Any) -> None:
    runner = environment.runner
    if isinstance(runner, WorkerRunner):
        return  # its shard began with servebench_go, which came before the spawn message
    rig.new_test()
    _await_mock(environment.parsed_options.servebench_mock)
    if rig.settings is None or not environment.parsed_options.servebench_run:
        rig.settings = settings_from_options(environment, rig.scenario_name)
    settings = in_own_directory(rig.settings)
    if settings.own_exit_codes:
        environment.process_exit_code = INTERRUPTED  # until the run has come to its end
    conductor = rig.conductor = Conductor(settings, interactive=sys.stderr.isatty())
    if isinstance(runner, MasterRunner):
        start_workers(environment, conductor)
    else:
        conductor.begin(shards=1)
        rig.session = build_session(environment, settings, shard=0, shards=1)
        rig.session.warm()
        for lease in conductor.open_budget():
            rig.session.sender.lease(lease)
        t0_ns = time.time_ns() + START_LEAD_NS
        conductor.set_start(t0_ns)
        rig.session.start(t0_ns)
        gevent.spawn(Reporter(environment, rig.session).loop)
    gevent.spawn(watch, conductor)
    if isinstance(runner, MasterRunner):
        gevent.spawn_later(_IMPORT_AHEAD_S, import_ahead)
        gevent.spawn(watch_workers, environment, conductor)
    if conductor.workload.mode == "closed" and settings.own_exit_codes:
        lead_s = START_LEAD_NS / 1e9
        gevent.spawn_later(conductor.workload.duration_s + lead_s, _time_is_up, environment, conductor)


def _time_is_up(environment: Any, conductor: Conductor) -> None:
    if rig.conductor is conductor:  # else another test is under way
        end_test(environment)


@guarded
def on_test_stopping(environment: Any, **_: Any) -> None:
    """Every worker hands in its last seconds and closes its files before Locust goes on to quit."""
    runner, conductor = environment.runner, rig.conductor
    if isinstance(runner, WorkerRunner):
        leave(environment)
        return
    if conductor is None or conductor.finished is not None or rig.trouble is not None:
        return
    conductor.stop_arrivals()
    grace_s = 0.0 if rig.hurry else conductor.settings.grace_s
    if isinstance(runner, MasterRunner):
        collect(environment, conductor, grace_s)
    elif rig.session is not None:
        rig.session.drain(grace_s, stopped_s=conductor.stopped_s)
        Reporter(environment, rig.session).report()
        conductor.finals[0] = rig.session.final()
    finished = conductor.finish()
    if environment.web_ui is not None:
        gevent.spawn(conductor.close)  # the page stays up, and so may the next test
    if conductor.settings.own_exit_codes:
        environment.process_exit_code = finished.exit_code


def on_quit(exit_code: int, **_: Any) -> None:
    """Last of all, below Locust's own tables."""
    if rig.conductor is not None and rig.conductor.finished is not None:
        rig.conductor.finished.show()
        sys.stdout.flush()
        rig.conductor.close()
