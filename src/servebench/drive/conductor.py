"""Conductor: the side of a run that measures nothing. It opens the run, gathers what the shards report,
feeds the collector and the progress line, and closes the run. On Locust's master, or beside the one shard
of a single process.
"""

import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gevent

from servebench.catalog.prices import TICKS_PER_USD
from servebench.cost.bill import usd_text
from servebench.cost.budget import Lease, Lender, Statement
from servebench.drive.budget_facts import budget_facts
from servebench.drive.clocks import ClockOffset, monotonic_from_realtime
from servebench.drive.finish import Finished, RunFacts, finish_run
from servebench.drive.settings import RunSettings
from servebench.errors import OperationError
from servebench.export.collector import CollectorHandle
from servebench.results.live import LiveStats
from servebench.results.run_directory import write_manifest


class Conductor:
    """One run from begin() to finish()."""

    def __init__(self, settings: RunSettings, *, interactive: bool) -> None:
        self.settings = settings
        self.workload = settings.plan.build()
        wanted = settings.objectives()
        self.live = LiveStats(wanted.slos, wanted.goodput)
        self.interactive = interactive
        self.finals: dict[int, dict[str, Any]] = {}
        self.shards = 0
        self.t0_realtime_ns = 0
        self._t0_ns = 0
        self.clock_offsets: dict[int, ClockOffset] = {}
        self.late_workers: set[str] = set()  # joined after the start: no shard is left for them
        self.interrupted = False
        self.stopped_s: float | None = None
        self.carried_out = False  # every arrival of the plan has been sent and has ended
        self.finished: Finished | None = None
        self.stop_reason: str | None = None  # of a run that its money ended
        self.lender: Lender | None = None
        self._collector: CollectorHandle | None = None
        self._in_flight: dict[int, int] = {}
        self._money: dict[int, dict[str, int]] = {}
        self._users: dict[int, int] = {}
        self._cpu_ratios: dict[int, float] = {}
        self._next_line_s = 0.0

    @property
    def run_dir(self) -> Path:
        return Path(self.settings.run_dir)

    def begin(self, *, shards: int) -> None:
        """Make the run directory and start the collector. Raises OperationError where either can't be had."""
        self.shards = shards
        try:
            self.run_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OperationError(f"can't make the run directory {self.run_dir}: {error.strerror}") from None
        if self.settings.metrics_port is not None:
            self._collector = CollectorHandle.start(
                port=self.settings.metrics_port,
                labels={
                    "run_id": self.settings.run_id,
                    "scenario": self.settings.plan.scenario.name,
                    "model": self.workload.model,
                    "target": self.settings.target_kind,
                },
                info={"seed": str(self.settings.plan.seed), "price_date": self.settings.price_date or ""},
            )
            self.say(f"metrics: http://127.0.0.1:{self._collector.port}/metrics")
        self._write_manifest()

    def set_start(self, t0_realtime_ns: int, offsets: Mapping[int, ClockOffset] | None = None) -> None:
        """T0 is agreed; offsets: each shard's clock against this one's."""
        self.t0_realtime_ns = t0_realtime_ns
        self._t0_ns = monotonic_from_realtime(t0_realtime_ns)  # nobody sets that clock in mid-run
        self.clock_offsets = dict(offsets or {})
        self._write_manifest()

    def stop_arrivals(self) -> None:
        """The test is being stopped: no arrival is due after this."""
        if self.stopped_s is None:
            self.stopped_s = self.elapsed_s()
            # SIGTERM, the web UI's stop: whatever it was, the plan was not carried out
            early = not self.carried_out and self.stopped_s < self.workload.duration_s - 0.05
            if self.carried_out:
                self.stopped_s = max(self.stopped_s, self.workload.duration_s)
            early = early and self.settings.own_exit_codes and self.stop_reason is None
            self.interrupted = self.interrupted or early

    def open_budget(self) -> list[Lease]:
        """The first leases, where the run has a budget."""
        ticks = self.settings.max_cost_ticks
        if ticks is None:
            return []
        self.lender = Lender(ticks, self.shards)
        return self.lender.open()

    def hear(self, statement: Statement) -> list[Lease]:
        return [] if self.lender is None else self.lender.hear(statement)

    def lose(self, shard: int) -> list[Lease]:
        return [] if self.lender is None else self.lender.lose(shard)

    @property
    def out_of_budget(self) -> bool:
        return self.lender is not None and self.lender.exhausted and self.stop_reason is None

    @property
    def budget_sentence(self) -> str:
        lender = self.lender
        assert lender is not None
        return (
            f"the budget of ${usd_text(lender.budget_ticks)} has no room for another request: "
            f"${usd_text(lender.spent)} spent, ${usd_text(lender.reserved)} reserved"
        )

    def stop_for_money(self, reason: str) -> bool:
        """Note it; False where the run is ending anyway."""
        if self.stop_reason is not None or self.stopped_s is not None:
            return False
        self.stop_reason = reason
        self.say(f"stopped: {reason}")
        return True

    def take_report(self, report: dict[str, Any]) -> None:
        """One shard's second: its live delta and gauges."""
        shard = int(report["shard"])
        self._in_flight[shard] = int(report["in_flight"])
        self._users[shard] = int(report["users"])
        self._cpu_ratios[shard] = float(report["cpu_ratio"])
        if report["money"] is not None:
            self._money[shard] = report["money"]
        self.live.merge(report["delta"])
        if self._collector is not None:
            elapsed_s = self.elapsed_s()
            self._collector.send(
                {
                    "delta": report["delta"],
                    "gauges": {
                        "in_flight": sum(self._in_flight.values()),
                        "users": sum(self._users.values()),
                        "offered_rate_rps": self._offered_rate_rps(elapsed_s),
                        "client_cpu_ratio": max(self._cpu_ratios.values()),
                        **self._budget_gauges(),
                    },
                    "retries": report["retries"],
                    "throttled_s": report["throttled_s"],
                    "phase": self._phase(elapsed_s),
                    "loop_stalls_s": report["loop_stalls_s"],
                }
            )

    def _money_now(self) -> tuple[float, float, float]:
        """Budget, spent and reserved in USD, as of each shard's last report."""
        lender = self.lender
        assert lender is not None
        living, lost = self._money, [shard for shard in lender.workers if shard not in self._money]
        spent = sum(one["spent"] for one in living.values()) + sum(map(lender.spent_by, lost))
        started = bool(living)  # before the first report nothing is out
        reserved = sum(one["reserved"] for one in living.values())
        reserved += sum(map(lender.lost_ticks, lost)) if started else 0
        return lender.budget_ticks / TICKS_PER_USD, spent / TICKS_PER_USD, reserved / TICKS_PER_USD

    def _budget_gauges(self) -> dict[str, float]:
        if self.lender is None:
            return {}
        names = ("budget_usd", "budget_spent_usd", "budget_reserved_usd")
        return dict(zip(names, self._money_now(), strict=True))

    def _budget_shown(self) -> str:
        if self.lender is None:
            return ""
        budget, _, reserved = self._money_now()
        return f" of ${budget:g}, ${reserved:.4f} reserved"

    def elapsed_s(self) -> float:
        return max((time.monotonic_ns() - self._t0_ns) / 1e9, 0.0) if self.t0_realtime_ns else 0.0

    def forget(self, shard: int) -> None:
        """A lost worker has nothing in flight any more."""
        self._in_flight.pop(shard, None)
        self._money.pop(shard, None)
        self._users.pop(shard, None)
        self._cpu_ratios.pop(shard, None)

    def too_late(self, worker: str) -> None:
        """Say it once of each."""
        if worker not in self.late_workers:
            self.late_workers.add(worker)
            self.say("a worker came after the start: it takes no part in this run")

    def progress(self) -> None:
        """One line on stderr: in place on a terminal, each five seconds elsewhere."""
        if self.settings.quiet:
            return
        elapsed_s = self.elapsed_s()
        if not self.interactive and elapsed_s < self._next_line_s:
            return
        self._next_line_s = elapsed_s + 5.0
        facts = self.live.snapshot()
        done = sum(facts["outcomes"].values())
        failed = done - facts["outcomes"].get("success", 0)
        ttft = facts["quantiles"].get("ttft", {}).get("p50")
        line = (
            f"{elapsed_s:6.1f} s of {self.workload.duration_s:.0f} s   done {done}   failed {failed}   "
            f"in flight {sum(self._in_flight.values())}   "
            f"TTFT p50 {'-' if ttft is None else f'{ttft:.3f} s'}   "
            f"output {facts['tokens'].get('output', 0)} tokens   ${facts['cost_ticks'] / 1e10:.4f}"
            f"{self._budget_shown()}"
        )
        self.say(line, in_place=True)

    def finish(self) -> Finished:
        """Gather the parts, write all files of the run, and say how it ended. Once."""
        if self.finished is not None:
            return self.finished
        if self.interactive and not self.settings.quiet:
            sys.stderr.write("\n")
        self._write_manifest()
        self.finished = finish_run(self.settings, self._facts())
        return self.finished

    def close(self) -> None:
        """End the metrics endpoint, after two more scrapes if anyone scrapes. Once."""
        collector, self._collector = self._collector, None
        if collector is not None:
            collector.finish()

    def _facts(self) -> RunFacts:
        return RunFacts(
            t0_utc=datetime.fromtimestamp(self.t0_realtime_ns / 1e9, UTC).isoformat(),
            elapsed_s=self.elapsed_s(),
            stopped_s=self.stopped_s,
            shards=self.shards,
            clock_offsets=self.clock_offsets,
            finals=dict(self.finals),
            late_workers=len(self.late_workers),
            interrupted=self.interrupted,
            schedule_hash=self.workload.schedule_hash,
            planned_requests=len(self.workload.intended_ns) if self.workload.mode == "open" else None,
            mode=self.workload.mode,
            duration_s=self.workload.duration_s,
            warmup_s=self.workload.warmup_s,
            notes=(*self.workload.notes, *self.settings.notes),
            stop_reason=self.stop_reason,
            budget=None if self.lender is None else budget_facts(self.lender, self.finals),
        )

    def _write_manifest(self) -> None:
        write_manifest(self.run_dir, self._facts().manifest(self.settings))

    def _phase(self, elapsed_s: float) -> str:
        if elapsed_s < self.workload.warmup_s:
            return "warmup"
        if elapsed_s >= self.workload.duration_s or self.stopped_s is not None:
            return "drain"
        return "cooldown" if elapsed_s >= self.workload.duration_s - self.settings.cooldown_s else "steady"

    def _offered_rate_rps(self, elapsed_s: float) -> float:
        if (
            self.workload.mode != "open"
            or self.workload.duration_s <= 0
            or elapsed_s > self.workload.duration_s
        ):
            return 0.0
        return len(self.workload.intended_ns) / self.workload.duration_s

    def say(self, text: str, *, in_place: bool = False) -> None:
        if self.settings.quiet:
            return
        if self.interactive:
            sys.stderr.write(f"\r{text}\033[K" if in_place else f"\r{text}\033[K\n")
        else:
            sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def watch(conductor: Conductor, interval_s: float = 0.5) -> None:
    """Greenlet: the progress line until the run is finished."""
    while conductor.finished is None:
        conductor.progress()
        gevent.sleep(interval_s)
