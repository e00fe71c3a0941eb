"""LoadSession: one process's share of a run. It slices the one schedule, sends, bills, and writes records.

Open loop: the pacer submits arrivals shard, shard + shards, ... of the schedule. Closed loop: each Locust
user asks for the next id of the same slice. Nothing is drawn here: every draw is a function of (seed, id).
"""

import dataclasses
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
from gevent.event import AsyncResult, Event

from servebench import __version__
from servebench.cost.budget import Purse, Statement
from servebench.drive.billing import Biller
from servebench.drive.calls import Calls
from servebench.drive.clocks import monotonic_from_realtime
from servebench.drive.in_flight import InFlight
from servebench.drive.money import Money
from servebench.drive.pacer import Pacer
from servebench.drive.sender import OnFinal, Sender
from servebench.drive.settings import RunSettings
from servebench.drive.stalls import Stalls
from servebench.drive.targets import api_key
from servebench.drive.turns import Following, Turns
from servebench.drive.warm import Warmed, warm_connections
from servebench.errors import OperationError
from servebench.meter import Outcome, RequestRecord
from servebench.meter.call import Target, Timeouts
from servebench.meter.engine_loop import EngineLoop
from servebench.meter.exchange import not_sent
from servebench.results.live import LiveStats
from servebench.results.parts import PartWriter

_RECONNECT_S = 1.0  # a closed loop would else ask a dead target thousands of times a second
_NOT_SENT = (Outcome.CONNECT_ERROR, Outcome.SHED)


class LoadSession:
    """A shard of one run, from start() to finish(). Raises UsageError for a missing key."""

    def __init__(
        self,
        settings: RunSettings,
        *,
        shard: int,
        shards: int,
        on_record: Callable[[RequestRecord], None],
        on_idle: Callable[[], None],
        on_stop: Callable[[str], None],
        speak: Callable[[Statement], None],
    ) -> None:
        self.settings = settings
        self.shard, self.shards = shard, shards
        self.workload = settings.plan.build()
        self.t0_ns: int | None = None
        self._cpu_at_start_s = 0.0
        wanted = settings.objectives()
        self.live = LiveStats(wanted.slos, wanted.goodput)
        self.disk_error: str | None = None
        self.records = 0
        self.stalls = Stalls(self._look)
        self._on_record, self._on_idle, self._on_stop = on_record, on_idle, on_stop
        self._writer = PartWriter(Path(settings.run_dir), shard)
        self._biller = Biller(settings.sheet)
        self._calls = Calls(self.workload, api=settings.plan.api, seed=settings.plan.seed)
        self._pacer: Pacer | None = None
        self._turns = Turns(self.workload, lambda id, at_ns: self._submit(id, at_ns, self._record_done))
        self._ids = range(shard, len(self.workload.intended_ns), shards)
        self._next_id = shard
        self._arrivals_over = False
        measured_until_s = self.workload.duration_s - settings.cooldown_s
        self._in_flight = InFlight(round(self.workload.warmup_s * 1e9), round(measured_until_s * 1e9))
        self._closing = Event()
        self._drain_until_s = 0.0
        self.loop = EngineLoop(
            Target.parse(settings.target_url, ca_file=settings.ca_file),
            headers={
                "Authorization": f"Bearer {api_key(settings.target_url)}",
                "User-Agent": f"servebench/{__version__}",
            },
            timeouts=Timeouts(
                connect_s=settings.connect_timeout_s,
                first_byte_s=settings.first_byte_timeout_s,
                idle_s=settings.idle_timeout_s,
            ),
            max_in_flight=settings.max_in_flight,
            t0_ns=time.monotonic_ns(),  # until start() sets the run's
        )
        bounds = settings.bounds() if settings.max_cost_usd is not None else None
        self.sender = Sender(
            self.loop,
            biller=self._biller,
            rules=settings.rules(),
            seed=settings.plan.seed,
            now_ns=self._since_t0_ns,
            stop=on_stop,
            money=None if bounds is None else Money(Purse(shard), bounds, speak),
        )
        self.warmed: Warmed | None = None

    def warm(self) -> None:
        """Open this shard's connections ahead of T0, if any are asked for. Waits for them."""
        count = self.settings.warm_connections
        mine = count // self.shards + (self.shard < count % self.shards)
        if mine:
            self.warmed = warm_connections(self.loop, mine, workers=self.shards)

    @property
    def open_loop(self) -> bool:
        return self.workload.mode == "open"

    @property
    def running(self) -> bool:
        return not self._closing.is_set()

    def start(self, t0_realtime_ns: int) -> None:
        """T0 is known: open loop begins its schedule, closed loop lets its users go at that time.

        Nothing happens if the run has been stopped before it began.
        """
        if not self.running:
            return
        t0_ns = self.t0_ns = self.loop.t0_ns = monotonic_from_realtime(t0_realtime_ns)
        self._cpu_at_start_s = time.process_time()
        self.stalls.forget()
        if not self.open_loop:
            return
        due_ns = [t0_ns + int(t) for t in self.workload.intended_ns[self.shard :: self.shards]]
        self._pacer = Pacer(
            due_ns,
            fire=lambda position, at_ns: self._submit(self._ids[position], at_ns - t0_ns, self._record_done),
            prepare=lambda position: self._calls.prepare(self._ids[position]),
            finished=self._arrivals_ended,
        )
        self._pacer.start()

    def request(self) -> RequestRecord | None:
        """Closed loop: send the next request of this shard, of a session all its calls in turn, and
        wait for the last record; None once closing.
        """
        request_id, self._next_id = self._next_id, self._next_id + self.shards
        self._calls.prepare(request_id)
        if not self.running:
            return None
        record, following = self._ask(request_id)
        while following is not None:
            if self._closing.wait(max(following.intended_ns - self._since_t0_ns(), 0) / 1e9):
                return None
            record, following = self._ask(following.id)
        think_s = self.workload.think_time_s(request_id)
        if record.outcome in _NOT_SENT:
            think_s = max(think_s, _RECONNECT_S)
        if think_s > 0:
            self._closing.wait(think_s)
        return record

    def _ask(self, request_id: int) -> tuple[RequestRecord, Following | None]:
        result: AsyncResult = AsyncResult()

        def done(record: RequestRecord, chunk_us: "array[int]", charge: dict[str, int]) -> None:
            result.set((record, self._end(record, chunk_us, charge)))

        # a user's intended start is the moment it asks: closed loops have no other plan
        self._submit(request_id, self._since_t0_ns(), done)
        answered: tuple[RequestRecord, Following | None] = result.get()
        return answered

    def wait_for_start(self) -> None:
        """Closed loop: users spawned early wait for T0."""
        while self.t0_ns is None:
            gevent.sleep(0.05)
        gevent.sleep(max((self.t0_ns - time.monotonic_ns()) / 1e9, 0))

    def _since_t0_ns(self) -> int:
        return max(time.monotonic_ns() - self.t0_ns, 0) if self.t0_ns is not None else 0

    def drain(self, grace_s: float, *, stopped_s: float | None = None) -> None:
        """Stop arrivals, wait up to grace_s for what is in flight, mark the rest aborted, close the files.

        stopped_s: when the run's arrivals ended, on all shards.
        """
        if not self.running:
            return
        self._closing.set()
        stopped_ns = self._since_t0_ns()
        if stopped_s is not None:
            self._in_flight.cut(round(stopped_s * 1e9))
        self._turns.stop()
        if self._pacer is not None:
            self._pacer.stop()
        self.sender.close()
        self._drain_until_s = time.monotonic() + grace_s
        while self._under_way() and time.monotonic() < self._drain_until_s:
            gevent.sleep(0.02)
        self.loop.abort_all()
        if self._pacer is not None:
            self._record_unsent(self._pacer.position, stopped_ns)
        self.loop.close()
        self.stalls.close()
        self._writer.close()

    def hurry(self) -> None:
        """Cut the grace of a drain under way."""
        self._drain_until_s = 0.0

    def final(self) -> dict[str, Any]:
        """What the conductor must know of this shard: its records and its own quality."""
        return {
            "shard": self.shard,
            "records": self.records,
            "disk_error": self.disk_error,
            "cpu_ratio": self._cpu_ratio(),
            "in_flight_area_s": self._in_flight.area_s(self._since_t0_ns()),
            "in_flight_seen_area_s": self._in_flight.seen_area_s(self._since_t0_ns()),
            "in_flight_span_s": self._in_flight.span_s,
            "loop_stall": self.stalls.worst(),
            "health": dataclasses.asdict(self.loop.health()),
            "warmed": None if self.warmed is None else dataclasses.asdict(self.warmed),
            **self.sender.final(),
        }

    def _look(self) -> None:
        if self.t0_ns is not None:
            waiting = self.loop.queued + self.sender.waiting
            self._in_flight.seen(self.loop.in_flight + waiting, self._since_t0_ns())

    def _cpu_ratio(self) -> float:
        """Cores used since T0."""
        elapsed_s = self._since_t0_ns() / 1e9
        return (time.process_time() - self._cpu_at_start_s) / elapsed_s if elapsed_s > 0 else 0.0

    def _record_unsent(self, position: int, stopped_ns: int) -> None:
        """Arrivals that were due before the stop and never fired: offered, and failed."""
        for request_id in self._ids[position:]:
            intended_ns = int(self.workload.intended_ns[request_id])
            if intended_ns > stopped_ns:
                break
            call, spec = self._calls.bare(request_id, intended_ns)
            record = not_sent(call, Outcome.UNSENT, "the run ended first", end_ns=stopped_ns)
            record, charge = self._biller.charge(record, prompt_tokens=spec.prompt_tokens)
            self._in_flight.change(+1, intended_ns)
            self._in_flight.change(-1, stopped_ns)
            self._keep(record, array("i"), charge)

    def _submit(self, request_id: int, intended_ns: int, done: OnFinal) -> None:
        call, spec = self._calls.take(request_id, intended_ns)
        self._in_flight.change(+1, intended_ns)
        self.sender.submit(call, spec, done)

    def _record_done(self, record: RequestRecord, chunk_us: "array[int]", charge: dict[str, int]) -> None:
        self._end(record, chunk_us, charge)

    def _end(self, record: RequestRecord, chunk_us: "array[int]", charge: dict[str, int]) -> Following | None:
        """What follows in the same session, if anything."""
        self._in_flight.change(-1, record.end_ns)
        state, following = self._turns.after(record)
        if state is not None:
            record = dataclasses.replace(record, session_state=state)
        self._keep(record, chunk_us, charge)
        if following is not None and self.open_loop and self.t0_ns is not None:
            self._turns.follow(following, t0_ns=self.t0_ns)
        self._check_idle()
        return following

    def _keep(self, record: RequestRecord, chunk_us: "array[int]", charge: dict[str, int]) -> None:
        """Write it, count it, tell Locust. charge: its bill in ticks by component."""
        try:
            self._writer.write(record, chunk_us)
        except (OSError, OperationError) as error:
            # the run goes on in memory: its live figures stand, and the report says what is missing
            self.disk_error = self.disk_error or str(error)
        self.records += 1
        self.live.add(record, chunk_us, cost_ticks=charge)
        self._on_record(record)

    def _arrivals_ended(self) -> None:
        self._arrivals_over = True
        if self.sender.held:  # what the budget keeps back must not make the run go on for ever
            gevent.spawn_later(self.settings.grace_s, self._give_up_held)
        self._check_idle()

    def _give_up_held(self) -> None:
        if self.running and self.sender.held:
            self._on_stop(f"the budget still kept {self.sender.held} requests waiting after the arrivals")

    def _under_way(self) -> int:
        return self.loop.in_flight + self.loop.queued + self._turns.waiting + self.sender.waiting

    def _check_idle(self) -> None:
        if self._arrivals_over and self.running and not self._under_way():
            self._arrivals_over = False
            gevent.get_hub().loop.run_callback(self._on_idle)
