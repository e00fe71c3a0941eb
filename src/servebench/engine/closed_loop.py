"""A closed loop of clients on one replica, many replicas at once: what benchmarks of serving stacks measure.

`concurrency` clients each send a request, wait for its end and send the next. All start together, so the
first round is a burst; benchmarks send ten requests a client, so that burst is a tenth of the mean TTFT.
Lengths are drawn from 0.8 to 1.0 of the nominal ones, as the benchmarks of the field do (InferenceX's
random-range-ratio), which takes clients out of step; low=1 keeps them in step.

The same schedule as engine.replica (first come first served, chunked prefill under a token budget, sequences
admitted where the KV holds them) over the same step time, in float arrays over lanes instead of objects:
between two events the batch is fixed, and decode steps are summed in closed form. Not modelled: preemption,
prefix cache.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from servebench.engine.roofline import Array
from servebench.engine.step_costs import StepCosts
from servebench.engine.step_time import decode_s, prefill_s, step_s

LOW = 0.8
ROUNDS = 10  # requests per client that the benchmark sends
SEED = 20261124
DRAWS = 4  # distinct lengths per client; more rounds than are simulated
LANES = 2500  # simulated together: more gain nothing and cost memory
CLASSES = (4, 8, 16, 32, 64, 128, 256, 600)  # lanes of like concurrency share arrays
NEVER = 1e18
Index = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Loads:
    """Arrays, one entry per lane. room: sequences the KV holds at once."""

    concurrency: Array
    input_tokens: Array
    output_tokens: Array
    room: Array

    def take(self, index: Index) -> "Loads":
        """The lanes at these places."""
        columns = (self.concurrency, self.input_tokens, self.output_tokens, self.room)
        return Loads(*(column[index] for column in columns))


class Means(NamedTuple):
    """Per lane: mean seconds over all requests of the benchmark, and the rate at which they were answered
    while two rounds were simulated."""

    ttft_s: Array
    tpot_s: Array
    requests_per_s: Array


def simulate(costs: StepCosts, loads: Loads, *, low: float = LOW, rounds: int = ROUNDS) -> Means:
    """Mean TTFT and TPOT of each lane. Deterministic: every lane draws the same clients."""
    lanes = len(loads.concurrency)
    means = Means(*(np.full(lanes, np.nan) for _ in Means._fields))
    order = np.argsort(loads.concurrency, kind="stable")
    edges = np.searchsorted(loads.concurrency[order], np.array(CLASSES), side="right")
    for group in np.split(order, edges):
        for start in range(0, len(group), LANES):
            index = group[start : start + LANES]
            run = _Run(costs.take(index), loads.take(index), low=low, rounds=rounds)
            while len(run.lanes):
                run.advance()
            for mean, values in zip(means, run.means, strict=True):
                mean[index] = values
    return means


class _Run:
    """The state of the lanes that still run; finished ones leave at intervals. Two rounds are simulated: the
    burst, and one that stands for all later ones."""

    def __init__(self, costs: StepCosts, loads: Loads, *, low: float, rounds: int) -> None:
        self.costs, self.loads, self.low, self.burst_share = costs, loads, low, 1.0 / rounds
        n, clients = len(loads.concurrency), int(loads.concurrency.max())
        self.input_share, self.output_share = (
            low + (1 - low) * np.random.default_rng((SEED, which)).random((clients, DRAWS))
            for which in (0, 1)
        )
        self.lanes = np.arange(n)
        self.means = Means(*(np.zeros(n) for _ in Means._fields))
        waves = np.max(costs.budget_tokens / (loads.input_tokens * low))
        self.window = np.arange(int(min(clients, waves + 2)))  # prompts that one step can touch
        self.events = 0
        zero = np.zeros(n)
        self.s: dict[str, np.ndarray] = {
            name: zero.copy()
            for name in (
                *("now", "step", "decoding", "context", "partial", "answered", "end"),
                *("ttft0", "ttft1", "tpot0", "tpot1"),
            )
        }
        self.s |= {
            "left": loads.concurrency.copy(),
            "clients": loads.concurrency.astype(np.intp),
            "head": np.zeros(n, dtype=np.intp),
            "tail": loads.concurrency.astype(np.intp),
            "queue": np.tile(np.arange(clients), (n, 1)),  # a ring of clients
            "last_step": np.full((n, clients), NEVER),
            "sent": np.zeros((n, clients)),
            "ready": np.repeat(costs.host_s[:, None], clients, axis=1),
            "first": np.zeros((n, clients)),
            "round": np.zeros((n, clients), dtype=np.intp),
            "length": np.zeros((n, clients)),
        }

    def advance(self) -> None:
        """One event in every lane: a finish, a step with prompts, or a run of decode steps up to the next."""
        s, costs = self.s, self.costs
        waiting, prompts, inputs, rounds, ready_s = self._queue()
        servable = np.logical_and.accumulate(
            waiting
            & (ready_s <= s["now"][:, None] + 1e-9)
            & (self.window < (self.loads.room - s["decoding"])[:, None]),
            axis=1,
        )
        ends = np.cumsum(np.where(servable, inputs, 0.0), axis=1) - s["partial"][:, None]
        budget = costs.budget_tokens - np.where(costs.separate > 0, 0.0, s["decoding"] * costs.queries)
        tokens = np.minimum(np.where(servable[:, 0], ends[:, -1], 0.0), np.maximum(budget, 1.0))
        decode = decode_s(costs, s["decoding"], s["context"])
        client = np.argmin(s["last_step"], axis=1)
        next_finish = np.min(s["last_step"], axis=1) - s["step"]
        finishing = next_finish <= 0
        prefilling = (tokens > 0) & ~finishing
        may_come = waiting[:, 0] & (self.loads.room > s["decoding"])
        gap_s = np.where(may_come, np.maximum(ready_s[:, 0] - s["now"], 0.0), NEVER)
        coasted, coast_s = self._coast(decode, next_finish, gap_s)
        took_s = np.where(prefilling, self._prefill_step_s(decode, tokens), np.where(finishing, 0.0, coast_s))
        together = np.where(costs.separate > 0, 0.0, 1.0)
        steps = np.where(prefilling, together, np.where(finishing, 0.0, coasted))
        s["now"] = s["now"] + took_s
        s["step"] = s["step"] + steps
        s["context"] = s["context"] + s["decoding"] * steps * costs.accepted
        done = servable & prefilling[:, None] & (ends <= tokens[:, None] + 1e-6)
        s["partial"] += np.where(prefilling, tokens - np.where(done, inputs, 0.0).sum(axis=1), 0.0)
        self._begin(done, prompts, inputs, rounds)
        self._finish(np.flatnonzero(finishing), client, decode + costs.layers_s + costs.overhead_s)
        self.events += 1
        if self.events % 16 == 0:
            self._retire()

    def _queue(self) -> tuple[NDArray[np.bool_], Index, Array, Index, Array]:
        """The first prompts in line: is there one, whose, its tokens, the client's round, when it may run."""
        s = self.s
        waiting = self.window < (s["tail"] - s["head"])[:, None]
        places = (s["head"][:, None] + self.window) % s["clients"][:, None]
        prompts = np.take_along_axis(s["queue"], places, axis=1)
        rounds = np.take_along_axis(s["round"], prompts, axis=1)
        share = self.input_share[prompts, np.minimum(rounds, DRAWS - 1)]
        inputs = np.floor(self.loads.input_tokens[:, None] * share)
        return waiting, prompts, inputs, rounds, np.take_along_axis(s["ready"], prompts, axis=1)

    def _coast(self, decode: Array, next_finish: Array, gap_s: Array) -> tuple[Array, Array]:
        """Decode steps until a sequence ends or a prompt is ready, and their time; idle lanes wait."""
        decoding = self.s["decoding"]
        first_s = decode + self.costs.layers_s + self.costs.overhead_s
        growth_s = self.costs.context_s * decoding * self.costs.accepted
        guess = np.minimum(np.ceil(gap_s / first_s), 1e6)
        until_ready = np.ceil(gap_s / (first_s + growth_s * guess / 2) - 1e-9)
        steps = np.where(decoding > 0, np.maximum(np.minimum(next_finish, until_ready), 1.0), 0.0)
        coast_s = steps * first_s + growth_s * steps * (steps - 1) / 2
        return steps, np.where(decoding > 0, coast_s, gap_s)

    def _prefill_step_s(self, decode: Array, tokens: Array) -> Array:
        prompt = self.loads.input_tokens * (1 + self.low) / 2
        prefill = prefill_s(self.costs, tokens, tokens * prompt / 2, tokens / prompt)
        beside = np.where((self.costs.separate > 0) | (self.s["decoding"] <= 0), 0.0, decode)
        took_s: Array = step_s(self.costs, beside, prefill)
        return took_s

    def _begin(self, done: NDArray[np.bool_], prompts: Index, inputs: Array, rounds: Index) -> None:
        """Prompts that are through get their first token and decode from now on."""
        if not done.any():
            return
        s, n = self.s, len(self.lanes)
        lane, place = np.nonzero(done)
        client, turn, now = prompts[lane, place], rounds[lane, place], s["now"][lane]
        outputs = self._outputs(lane, client, turn)
        s["last_step"][lane, client] = s["step"][lane] + np.ceil((outputs - 1) / self.costs.accepted[lane])
        s["first"][lane, client] = now
        s["length"][lane, client] = inputs[lane, place] + outputs
        waited = now - s["sent"][lane, client]
        for name, wanted in (("ttft0", 0), ("ttft1", 1)):
            s[name] += np.bincount(lane, waited * (turn == wanted), minlength=n)
        count = done.sum(axis=1)
        s["decoding"] = s["decoding"] + count
        s["context"] = s["context"] + np.bincount(lane, inputs[lane, place] + 1, minlength=n)
        s["head"] = s["head"] + count

    def _outputs(self, lane: Index, client: Index, turn: Index) -> Array:
        share = self.output_share[client, np.minimum(turn, DRAWS - 1)]
        outputs: Array = np.maximum(np.floor(self.loads.output_tokens[lane] * share), 2.0)
        return outputs

    def _finish(self, lane: Index, clients: Index, decode_step_s: Array) -> None:
        """One client of each of these lanes has its answer and sends again at once."""
        if not len(lane):
            return
        s = self.s
        client = clients[lane]
        turn, now = s["round"][lane, client], s["now"][lane]
        each_s = (now - s["first"][lane, client]) / (self._outputs(lane, client, turn) - 1)
        for name, wanted in (("tpot0", 0), ("tpot1", 1)):
            s[name][lane] += each_s * (turn == wanted)
        running = s["left"][lane] > 0
        s["answered"][lane] += running
        s["end"][lane] = np.where(running, now, s["end"][lane])
        s["left"][lane] -= turn == 1
        s["decoding"][lane] -= 1
        s["context"][lane] -= s["length"][lane, client]
        s["last_step"][lane, client] = NEVER
        s["round"][lane, client] = turn + 1
        s["sent"][lane, client] = now
        poll = self.costs.poll_steps[lane]
        until_poll = np.where(poll > 0, poll - s["step"][lane] % np.maximum(poll, 1), 0)
        wait_s = self.costs.host_s[lane] + until_poll * decode_step_s[lane]
        s["ready"][lane, client] = now + wait_s
        s["queue"][lane, s["tail"][lane] % s["clients"][lane]] = client
        s["tail"][lane] += 1

    def _retire(self) -> None:
        over = self.s["left"] <= 0
        if not over.any():
            return
        s, lane, w = self.s, self.lanes[over], self.burst_share
        clients = self.loads.concurrency[over]
        self.means.ttft_s[lane] = (w * s["ttft0"][over] + (1 - w) * s["ttft1"][over]) / clients
        self.means.tpot_s[lane] = (w * s["tpot0"][over] + (1 - w) * s["tpot1"][over]) / clients
        self.means.requests_per_s[lane] = s["answered"][over] / s["end"][over]
        keep = np.flatnonzero(~over)
        self.lanes = self.lanes[keep]
        self.s = {name: values[keep] for name, values in s.items()}
        self.costs, self.loads = self.costs.take(keep), self.loads.take(keep)
