"""The side of a run that measures: one LoadSession in a worker, or in the single process."""

from locust.runners import WorkerRunner

import platform
import sys
import time
from pathlib import Path
from typing import Any

import gevent

from servebench.cost.budget import Lease, Statement
from servebench.drive.clocks import host_clock_id
from servebench.drive.conductor import Conductor
from servebench.drive.rig import end_test, guarded, rig
from servebench.drive.session import LoadSession
from servebench.drive.settings import RunSettings
from servebench.drive.shipping import discard, own_run_dir, pieces, shares_run_dir
from servebench.meter import RequestRecord

_REPORT_S = 1.0


def build_session(environment: Any, settings: RunSettings, *, shard: int, shards: int) -> LoadSession:
    """A session whose records also become Locust's one event a request, with the true E2E."""

    def on_record(record: RequestRecord) -> None:
        e2e_s = record.e2e_s if record.e2e_s is not None else (record.end_ns - record.intended_ns) / 1e9
        environment.events.request.fire(
            request_type="POST",
            name=record.class_name,
            response_time=e2e_s * 1000,
            response_length=record.response_bytes,
            exception=None if record.ok else Exception(record.outcome.value),
            context={},
            start_time=time.time(),
            response=None,
        )

    def on_idle() -> None:
        if isinstance(environment.runner, WorkerRunner):
            environment.runner.send_message("servebench_idle", {"shard": shard})
        else:
            if rig.conductor is not None:
                rig.conductor.carried_out = True
            gevent.spawn(end_test, environment)

    def on_stop(reason: str) -> None:
        if isinstance(environment.runner, WorkerRunner):
            environment.runner.send_message("servebench_stop", {"shard": shard, "reason": reason})
        elif rig.conductor is not None:
            stop_run(environment, rig.conductor, reason)

    def speak(statement: Statement) -> None:
        if isinstance(environment.runner, WorkerRunner):
            environment.runner.send_message("servebench_budget", statement.to_json())
        elif rig.conductor is not None:
            # later: the answer may release what is being held at this moment
            gevent.get_hub().loop.run_callback(hear_at_home, environment, rig.conductor, statement)

    return LoadSession(
        settings,
        shard=shard,
        shards=shards,
        on_record=on_record,
        on_idle=on_idle,
        on_stop=on_stop,
        speak=speak,
    )


def hear_at_home(environment: Any, conductor: Conductor, statement: Statement) -> None:
    """The single process: shard and master are one."""
    for lease in conductor.hear(statement):
        if rig.session is not None:
            rig.session.sender.lease(lease)
    if conductor.out_of_budget:
        stop_run(environment, conductor, conductor.budget_sentence)


def stop_run(environment: Any, conductor: Conductor, reason: str) -> None:
    """The money has come to its end: drain, keep all data, exit 6. Once."""
    if conductor.stop_for_money(reason):
        gevent.spawn(end_test, environment)


class Reporter:
    """One shard's report each second: its live delta, gauges, and the CPU it used of one core."""

    def __init__(self, environment: Any, session: LoadSession) -> None:
        self._environment, self._session = environment, session
        self._wall_s, self._cpu_s = time.monotonic(), time.process_time()

    def loop(self) -> None:
        while self._session.running:
            gevent.sleep(_REPORT_S)
            if self._session.running:
                self.report()

    def report(self) -> None:
        wall_s, cpu_s = time.monotonic(), time.process_time()
        used = (cpu_s - self._cpu_s) / max(wall_s - self._wall_s, 1e-9)
        self._wall_s, self._cpu_s = wall_s, cpu_s
        report = {
            "shard": self._session.shard,
            "delta": self._session.live.take(),
            "in_flight": self._session.loop.in_flight,
            "users": self._environment.runner.user_count,
            "cpu_ratio": used,
            "loop_stalls_s": self._session.stalls.take(),
            "money": self._session.sender.money_now(),
            **self._session.sender.take(),
        }
        if isinstance(self._environment.runner, WorkerRunner):
            self._environment.runner.send_message("servebench_live", report)
        elif rig.conductor is not None:
            rig.conductor.take_report(report)


@guarded
def on_plan(environment: Any, msg: Any, **_: Any) -> None:
    settings = RunSettings.model_validate_json(msg.data["settings"])
    rig.own_run_dir = None
    if not shares_run_dir(Path(settings.run_dir), settings.run_id):
        rig.own_run_dir = own_run_dir(settings.run_id)
        settings = settings.model_copy(update={"run_dir": str(rig.own_run_dir)})
    rig.session = build_session(environment, settings, shard=msg.data["shard"], shards=msg.data["shards"])
    rig.session.warm()
    ready = {"shard": msg.data["shard"], "clock_id": host_clock_id(), "host": platform.node()}
    environment.runner.send_message("servebench_ready", ready)


@guarded
def on_ping(environment: Any, msg: Any, **_: Any) -> None:
    environment.runner.send_message("servebench_pong", {**msg.data, "answered_ns": time.time_ns()})


@guarded
def on_go(environment: Any, msg: Any, **_: Any) -> None:
    assert rig.session is not None
    if msg.data.get("lease") is not None:
        rig.session.sender.lease(Lease(**msg.data["lease"]))
    rig.session.start(msg.data["t0_realtime_ns"])
    gevent.spawn(Reporter(environment, rig.session).loop)


def on_lease(environment: Any, msg: Any, **_: Any) -> None:
    if rig.session is not None:
        rig.session.sender.lease(Lease(**msg.data))


@guarded
def on_drain(environment: Any, msg: Any, **_: Any) -> None:
    """End of the test: finish or abort what is in flight, hand in the last seconds, close the files."""
    session = rig.session
    if session is None:
        return
    if not session.running:
        session.hurry()  # a second order means: now
        return
    session.drain(msg.data["grace_s"], stopped_s=msg.data["stopped_s"])
    _hand_in(environment, session)
    if rig.own_run_dir is not None:
        discard(rig.own_run_dir)


def leave(environment: Any) -> None:
    """This worker ends before the master has all of it: it was told to go, or the master is gone.

    What is here is handed in all the same. Nobody knows whether the master hears, so nothing is discarded.
    """
    session = rig.session
    if session is None:
        return
    if session.running:
        session.drain(0.0)
        _hand_in(environment, session)
    if rig.own_run_dir is not None and rig.own_run_dir.exists():
        sys.stderr.write(f"servebench: this worker's records stay in {rig.own_run_dir}\n")


def _hand_in(environment: Any, session: LoadSession) -> None:
    Reporter(environment, session).report()
    environment.runner._send_stats()  # Locust's own figures of the last seconds
    if rig.own_run_dir is not None:
        for piece in pieces(rig.own_run_dir):
            environment.runner.send_message("servebench_piece", piece)
            gevent.sleep(0)  # heartbeats go out between pieces
    environment.runner.send_message("servebench_final", session.final())


WORKER_MESSAGES = {
    "servebench_plan": (on_plan, True),
    "servebench_ping": (on_ping, False),
    "servebench_go": (on_go, False),
    "servebench_lease": (on_lease, False),
    "servebench_drain": (on_drain, True),
}
