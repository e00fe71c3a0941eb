"""Sender: between the plan and the loop. It reserves what a request may cost, waits where a rule says so,
sends, sends again, and settles the bill. One per shard, in its hub.

What waits by rule (Retry-After, backoff, budget) has its waiting time on its record, apart from latency.
"""

import dataclasses
import time
from array import array
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import gevent

from servebench.cost.bill import usd_text
from servebench.cost.budget import Lease
from servebench.drive.billing import AttemptCost, Biller, out_of_credits
from servebench.drive.money import Money, Stake
from servebench.drive.retries import RetryRules, wait_s
from servebench.meter import Outcome, RequestRecord
from servebench.meter.call import Call
from servebench.meter.engine_loop import EngineLoop
from servebench.meter.exchange import not_sent
from servebench.workload.draws import uniform
from servebench.workload.spec import RequestSpec

OnFinal = Callable[[RequestRecord, "array[int]", dict[str, int]], None]  # with the ticks by component
NO_CREDITS = "the account is out of credits"
_LARGE_BODY = 16384


@dataclass(slots=True, eq=False)
class Job:
    """One request on its way. since_ns: waiting by rule since (monotonic); started_ns: of the attempt;
    before_ns: of throttled_ns, what was waited before the last attempt.
    """

    call: Call
    spec: RequestSpec
    done: OnFinal
    attempts: int = 0
    throttled_ns: int = 0
    before_ns: int = 0
    retried_ns: int = 0
    retry_ticks: int = 0
    since_ns: int = 0
    started_ns: int = 0
    stake: Stake = field(default_factory=Stake)
    last: "tuple[RequestRecord, array[int]] | None" = None


class Sender:
    """submit(call, spec, done): done comes once, with the record of the last attempt, billed.

    stop: called once with the reason when nothing more is worth sending. now_ns: since T0.
    """

    def __init__(
        self,
        loop: EngineLoop,
        *,
        biller: Biller,
        rules: RetryRules,
        seed: int,
        now_ns: Callable[[], int],
        stop: Callable[[str], None],
        money: Money | None = None,
    ) -> None:
        self.loop = loop
        self.retries: dict[str, int] = {}
        self.throttled_s: dict[str, float] = {}
        self.held_since_ns: int | None = None  # intended start of the first request that was never sent
        self._biller, self._rules, self._seed = biller, rules, seed
        self._now_ns, self._stop, self._money = now_ns, stop, money
        self._held: deque[Job] = deque()
        self._timers: dict[Job, tuple[Any, str]] = {}
        self._pause_until_ns = 0
        self._resume: Any = None  # the timer that pumps after a pause
        self._closed = False
        self._told: dict[str, dict[str, float]] = {"retries": {}, "throttled_s": {}}

    @property
    def held(self) -> int:
        """Requests that wait for the budget."""
        return len(self._held)

    @property
    def waiting(self) -> int:
        """Requests that are neither sent nor given up."""
        return len(self._held) + len(self._timers)

    def submit(self, call: Call, spec: RequestSpec, done: OnFinal) -> None:
        self._admit(Job(call, spec, done))

    def lease(self, lease: Lease) -> None:
        """The master's word has come."""
        if self._money is not None:
            self._money.purse.take(lease)
            self._pump()

    def close(self) -> None:
        """Nothing more is sent; what waits by rule ends as what it came to so far."""
        self._closed = True
        self._stop_resume()
        held, self._held = self._held, deque()
        timers, self._timers = self._timers, {}
        for job in held:
            self._waited(job, "budget")
            self._give_up(job, "the budget had no room for it")
        for job, (timer, reason) in timers.items():
            timer.stop()
            timer.close()
            self._waited(job, reason)
            self._give_up(job, "it waited by rule when the run ended")

    def money_now(self) -> dict[str, int] | None:
        """For the live view: spent and reserved ticks; None without a budget."""
        if self._money is None:
            return None
        purse = self._money.purse
        return {"spent": purse.spent, "reserved": purse.kept + purse.reserved}

    def take(self) -> dict[str, dict[str, float]]:
        """retries and throttled_s by reason since the last take()."""
        now: dict[str, dict[str, float]] = {"retries": {**self.retries}, "throttled_s": {**self.throttled_s}}
        told, self._told = self._told, now
        return {
            what: {reason: value - told[what].get(reason, 0) for reason, value in by_reason.items()}
            for what, by_reason in now.items()
        }

    def final(self) -> dict[str, Any]:
        """For the manifest: what was sent again, waited for, and spent."""
        money = self._money
        return {
            "retries": dict(self.retries),
            "throttled_s": dict(self.throttled_s),
            "held_since_s": None if self.held_since_ns is None else self.held_since_ns / 1e9,
            "budget": None if money is None else money.final(),
        }

    # on the way out

    def _admit(self, job: Job) -> None:
        if self._closed:
            self._give_up(job, "the run had stopped")
            return
        left_ns = self._paused_ns()
        if left_ns > 0:
            if self._rules.on_429 == "drop" and not job.attempts:
                self._shed(job, "dropped: the target had asked to wait (Retry-After)")
            else:
                self._wait(job, wait_s(1, left_ns / 1e9, self._chance(job)), "http_429")
            return
        if self._money is None:
            self._send(job)
        elif self._held or not self._money.reserve(job.spec, job.stake):
            job.since_ns = time.monotonic_ns()
            self._held.append(job)
            self._pump()
        else:
            self._send(job)
            self._money.tell(0)

    def _pump(self) -> None:
        """Send what waits for the budget, in order, as far as there is room; in a pause, after it."""
        money = self._money
        if money is None:
            return
        left_ns = self._paused_ns()
        if left_ns > 0 and self._held and self._resume is None:
            self._resume = gevent.get_hub().loop.timer(left_ns / 1e9)
            self._resume.start(self._resumed)
        while left_ns <= 0 and self._held and money.reserve(self._held[0].spec, self._held[0].stake):
            job = self._held.popleft()
            self._waited(job, "budget")
            self._send(job)
        money.tell(self._held[0].stake.ticks if self._held else 0)

    def _paused_ns(self) -> int:
        """How long nothing is to be sent from now on; 0 or less: one may."""
        return self._pause_until_ns - time.monotonic_ns() if self._pause_until_ns else 0

    def _resumed(self) -> None:
        self._stop_resume()
        self._pump()

    def _stop_resume(self) -> None:
        if self._resume is not None:
            self._resume.stop()
            self._resume.close()
            self._resume = None

    def _send(self, job: Job) -> None:
        call = job.call
        job.started_ns = self._now_ns()
        self.loop.submit(call, partial(self._ended, job))
        if not self._rules.retries and len(call.body) > _LARGE_BODY:
            job.call = dataclasses.replace(
                call, body=b""
            )  # a long prompt need not live as long as its answer

    # on the way back

    def _ended(self, job: Job, record: RequestRecord, chunk_us: "array[int]") -> None:
        job.attempts += record.outcome is not Outcome.UNSENT
        cost = self._cost(job, record)
        if self._money is not None:
            self._money.settle(job.stake, record, cost.settled_ticks, effort=job.spec.reasoning_effort)
        if record.status is not None and record.status >= 400:
            self._refused(record)
        reason = None if self._closed else self._rules.reason(record, job.attempts)
        if reason is None:
            self._finish(job, record, chunk_us, cost)
        else:
            self.retries[reason] = self.retries.get(reason, 0) + 1
            job.last = (record, chunk_us)
            job.before_ns = job.throttled_ns
            job.retried_ns += record.end_ns - job.started_ns
            job.retry_ticks += cost.ticks or 0
            delay_s = wait_s(job.attempts, record.retry_after_s, self._chance(job))
            self._wait(job, delay_s, reason)
        if self._money is not None:
            self._pump()

    def _refused(self, record: RequestRecord) -> None:
        if out_of_credits(record):
            self._mark(record.intended_ns)
            if not self._closed:
                self.close()
                self._stop(NO_CREDITS)
        else:
            pause_s = self._rules.pause_s(record)
            until_ns = time.monotonic_ns() + round(pause_s * 1e9)
            if pause_s > 0:
                self._pause_until_ns = max(self._pause_until_ns, until_ns)

    def _cost(self, job: Job, record: RequestRecord) -> AttemptCost:
        return self._biller.cost(record, prompt_tokens=job.spec.prompt_tokens)

    def _finish(self, job: Job, record: RequestRecord, chunk_us: "array[int]", cost: AttemptCost) -> None:
        more: dict[str, Any] = {}
        if job.attempts > 1 or job.throttled_ns:
            more = {
                "attempts": job.attempts,
                "throttled_ns": job.throttled_ns,
                "retried_ns": job.retried_ns,
            }
            if job.attempts > 1:
                more["retry_cost_usd"] = usd_text(job.retry_ticks)
        if job.retry_ticks:
            cost.parts["retry"] = job.retry_ticks
        job.done(cost.on(record, **more), chunk_us, cost.parts)

    # waiting and giving up

    def _wait(self, job: Job, delay_s: float, reason: str) -> None:
        job.since_ns = time.monotonic_ns()
        timer = gevent.get_hub().loop.timer(delay_s)
        self._timers[job] = (timer, reason)
        timer.start(self._due, job)

    def _due(self, job: Job) -> None:
        timer, reason = self._timers.pop(job)
        timer.close()
        self._waited(job, reason)
        self._admit(job)

    def _waited(self, job: Job, reason: str) -> None:
        spent_ns = time.monotonic_ns() - job.since_ns
        job.throttled_ns += spent_ns
        self.throttled_s[reason] = self.throttled_s.get(reason, 0.0) + spent_ns / 1e9

    def _give_up(self, job: Job, why: str) -> None:
        """What came of it so far is what it came to; without an attempt it was never sent."""
        if job.last is None:
            self._mark(job.call.intended_ns)
            self._shed(job, why)
            return
        record, chunk_us = job.last
        job.throttled_ns = job.before_ns  # what was waited since is no part of when that attempt was sent
        job.retried_ns -= record.end_ns - job.started_ns  # the last attempt is none that another followed
        cost = self._cost(job, record)
        job.retry_ticks -= cost.ticks or 0
        self._finish(job, record, chunk_us, cost)

    def _shed(self, job: Job, why: str) -> None:
        record = not_sent(job.call, Outcome.SHED, why, end_ns=self._now_ns())
        self._finish(job, record, array("i"), self._cost(job, record))

    def _mark(self, intended_ns: int) -> None:
        since_ns = self.held_since_ns
        self.held_since_ns = intended_ns if since_ns is None else min(since_ns, intended_ns)

    def _chance(self, job: Job) -> float:
        return uniform(self._seed, "retry", (job.call.id % 2**40) * 16 + job.attempts % 16)
