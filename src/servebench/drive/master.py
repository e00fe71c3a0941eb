"""The master's side of a distributed run: ship the plan, agree on T0, gather what the workers hand in."""

import time
from typing import Any

import gevent

from servebench.cost.budget import Lease, Statement
from servebench.drive.clocks import PINGS, SAME_CLOCK, ClockOffset, Ping, clock_offset, host_clock_id
from servebench.drive.conductor import Conductor
from servebench.drive.rig import end_test, give_up, rig
from servebench.drive.shard import stop_run
from servebench.drive.shipping import take_piece
from servebench.errors import ServebenchError

START_LEAD_NS = 200_000_000
_REMOTE_LEAD_NS = 1_000_000_000
_BUILD_TIMEOUT_S = 60.0
_JOIN_TIMEOUT_S = 5.0
_PING_TIMEOUT_S = 5.0
_DRAIN_MARGIN_S = 15.0


def await_workers(environment: Any) -> None:
    """Until the forked workers have joined: Locust itself looks for them once a second only."""
    options = environment.parsed_options
    until = time.monotonic() + _JOIN_TIMEOUT_S
    while len(environment.runner.clients.ready) < options.expect_workers and time.monotonic() < until:
        gevent.sleep(0.01)


def start_workers(environment: Any, conductor: Conductor) -> None:
    """Every worker builds its shard; then each gets T0 in its own clock. Raises what kept one from it."""
    runner = environment.runner
    rig.shards = {client.id: shard for shard, client in enumerate(_living(runner))}
    conductor.begin(shards=len(rig.shards))
    text = conductor.settings.model_dump_json()
    for client_id, shard in rig.shards.items():
        message = {"settings": text, "shard": shard, "shards": len(rig.shards)}
        runner.send_message("servebench_plan", message, client_id=client_id)
    if not rig.wait_for(lambda: len(rig.ready) == len(rig.shards), _BUILD_TIMEOUT_S):
        missing = len(rig.shards) - len(rig.ready)
        raise rig.trouble or ServebenchError(
            f"{missing} of {len(rig.shards)} workers were not ready within {_BUILD_TIMEOUT_S:.0f} s"
        )
    offsets = {shard: _offset(environment, client_id, shard) for client_id, shard in rig.shards.items()}
    remote = any(offset is not SAME_CLOCK for offset in offsets.values())
    t0_ns = time.time_ns() + (_REMOTE_LEAD_NS if remote else START_LEAD_NS)
    conductor.set_start(t0_ns, offsets)
    leases = {lease.worker: lease.to_json() for lease in conductor.open_budget()}
    for client_id, shard in rig.shards.items():
        message = {"t0_realtime_ns": t0_ns + offsets[shard].offset_ns, "lease": leases.get(shard)}
        runner.send_message("servebench_go", message, client_id=client_id)


def _offset(environment: Any, client_id: str, shard: int) -> ClockOffset:
    clock_id = rig.ready[shard]["clock_id"]
    if clock_id and clock_id == host_clock_id():
        return SAME_CLOCK
    pings = rig.pings.setdefault(shard, [])
    for _ in range(PINGS):
        expected = len(pings) + 1
        message = {"shard": shard, "sent_ns": time.time_ns()}
        environment.runner.send_message("servebench_ping", message, client_id=client_id)
        rig.wait_for(lambda expected=expected: len(pings) >= expected, _PING_TIMEOUT_S)  # type: ignore[misc]
    if not pings:
        raise ServebenchError(f"worker {shard} on {rig.ready[shard]['host']} does not answer for its clock")
    return clock_offset(pings)


def _living(runner: Any) -> list[Any]:
    return [client for client in runner.clients.all if client.state != "missing"]


def living_shards(runner: Any) -> set[int]:
    """Shards whose worker still sends heartbeats."""
    living = {client.id for client in _living(runner)}
    return {shard for client, shard in rig.shards.items() if client in living}


def watch_workers(environment: Any, conductor: Conductor) -> None:
    """Greenlet: a worker that dies must not keep the run waiting, and is said at once."""
    lost: set[int] = set()
    while conductor.finished is None:
        gevent.sleep(1.0)
        living = living_shards(environment.runner)
        for client in _living(environment.runner):
            if client.id not in rig.shards:
                conductor.too_late(client.id)
        gone = set(rig.shards.values()) - living
        for shard in sorted(gone - lost):
            lost.add(shard)
            conductor.forget(shard)
            if shard in conductor.finals:
                if conductor.stopped_s is None:  # else it has handed all in and goes, as it should
                    conductor.say(f"worker {shard} has left: its requests from now on are missing")
                continue
            conductor.say(f"worker {shard} is lost: its requests from now on are missing, the run is INVALID")
            send_leases(environment, conductor, conductor.lose(shard))
        if gone and living <= rig.idle:
            end_test(environment)


def collect(environment: Any, conductor: Conductor, grace_s: float) -> None:
    """Have every worker that lives drain and hand in; the lost ones are the manifest's missing_workers."""
    runner = environment.runner
    stopped_s = conductor.stopped_s
    runner.send_message("servebench_drain", {"grace_s": grace_s, "stopped_s": stopped_s})

    def all_in() -> bool:
        return living_shards(runner) <= set(conductor.finals)

    complete = rig.wait_for(all_in, grace_s + _DRAIN_MARGIN_S)
    if rig.hurry and not complete:
        runner.send_message("servebench_drain", {"grace_s": 0.0, "stopped_s": stopped_s})
        rig.hurry = False  # heard: the workers need a moment to write down what they abort
        rig.wait_for(all_in, _DRAIN_MARGIN_S)


def from_ready(environment: Any, msg: Any, **_: Any) -> None:
    rig.ready[msg.data["shard"]] = msg.data
    rig.progressed.set()


def from_pong(environment: Any, msg: Any, **_: Any) -> None:
    ping = Ping(msg.data["sent_ns"], msg.data["answered_ns"], time.time_ns())
    rig.pings.setdefault(msg.data["shard"], []).append(ping)
    rig.progressed.set()


def from_live(environment: Any, msg: Any, **_: Any) -> None:
    if rig.conductor is not None:
        rig.conductor.take_report(msg.data)


def from_idle(environment: Any, msg: Any, **_: Any) -> None:
    rig.idle.add(msg.data["shard"])
    if rig.idle == set(rig.shards.values()):
        if rig.conductor is not None:
            rig.conductor.carried_out = True
        gevent.spawn(end_test, environment)


def from_piece(environment: Any, msg: Any, **_: Any) -> None:
    if rig.conductor is None:
        return
    try:
        take_piece(rig.conductor.run_dir, msg.data)
    except (OSError, ServebenchError) as error:  # the records that are missing make the run INVALID
        rig.conductor.say(f"a worker's records could not be written: {error}")


def send_leases(environment: Any, conductor: Conductor, leases: list[Lease]) -> None:
    """The budget's word to its workers; the end of the run where there is none left to give."""
    clients = {shard: client_id for client_id, shard in rig.shards.items()}
    for lease in leases:
        environment.runner.send_message("servebench_lease", lease.to_json(), client_id=clients[lease.worker])
    if conductor.out_of_budget:
        stop_run(environment, conductor, conductor.budget_sentence)


def from_budget(environment: Any, msg: Any, **_: Any) -> None:
    if rig.conductor is not None:
        leases = rig.conductor.hear(Statement(**msg.data))
        send_leases(environment, rig.conductor, leases)


def from_stop(environment: Any, msg: Any, **_: Any) -> None:
    if rig.conductor is not None:
        stop_run(environment, rig.conductor, msg.data["reason"])


def from_final(environment: Any, msg: Any, **_: Any) -> None:
    if rig.conductor is not None:
        rig.conductor.finals[msg.data["shard"]] = msg.data
    rig.progressed.set()


def from_trouble(environment: Any, msg: Any, **_: Any) -> None:
    trouble = ServebenchError(msg.data["error"])
    trouble.exit_code = msg.data["exit_code"]
    rig.trouble = trouble
    rig.progressed.set()
    if rig.conductor is not None and rig.conductor.t0_realtime_ns:
        give_up(environment, trouble)


MASTER_MESSAGES = {
    "servebench_ready": from_ready,
    "servebench_pong": from_pong,
    "servebench_live": from_live,
    "servebench_idle": from_idle,
    "servebench_budget": from_budget,
    "servebench_stop": from_stop,
    "servebench_piece": from_piece,
    "servebench_final": from_final,
    "servebench_trouble": from_trouble,
}
