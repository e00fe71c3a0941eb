"""Real time: one replica's steps on the wall clock or a multiple of it, one timer per step, never per stream.

The engine says when a step starts and ends; at its end the tokens go to the sinks of all streams that emit.
While there is work the next step starts at the end of the last one, whenever its callback ran: no drift,
unless the process is so far behind that the engine's clock has to slip.
"""

import asyncio
import time
from collections.abc import Callable, Container
from dataclasses import dataclass

from mock_server.burst import Burst
from mock_server.choices import MAX_LAG_S, MAX_SCALED_LAG_S
from mock_server.clock import EngineClock
from mock_server.deadline import make_deadline
from mock_server.engine_log import EngineLog
from mock_server.sink import Sink
from mock_server.utilisation import Utilisation
from servebench.engine.power import power_watts
from servebench.engine.replica import Replica, Step
from servebench.engine.sequence import Emission, Sequence

# real time before a step's end from which on no event is prepared: the largest takes less
_PREPARED_BEFORE_S = 2e-4


@dataclass(frozen=True, slots=True)
class StepReport:
    """What one step did. late_s: wall clock behind the engine's end of the step, in real seconds.

    usual_gaps streams waited gap_s since their last token, the others odd_gaps_s; first tokens have no gap.
    """

    step: Step
    late_s: float
    tokens: int
    gap_s: float
    usual_gaps: int
    odd_gaps_s: list[float]


class RealtimeReplica:
    """A replica under an engine clock. All methods are for the event loop's thread."""

    def __init__(
        self,
        replica: Replica,
        loop: asyncio.AbstractEventLoop,
        on_step: Callable[[StepReport], None],
        clock: EngineClock | None = None,
    ) -> None:
        self.replica = replica
        self._loop = loop
        self.log = EngineLog()
        self._utilisation = Utilisation()
        self._clock = clock or EngineClock()
        self._max_lag_s = MAX_LAG_S if self._clock.scale <= 1 else MAX_SCALED_LAG_S
        self._on_step = on_step
        self._sinks: dict[int, Sink] = {}
        self._step: Step | None = None
        self._burst: Burst | None = None  # of the step in flight
        self._start_s: float | None = None  # of the next step, where none is in flight
        self._last_end_s = 0.0
        self._deadline = make_deadline(loop, self._due)

    def submit(self, sequence: Sequence, sink: Sink) -> None:
        """Raises SequenceDoesNotFitError, QueueFullError.

        It is ready no earlier than now, so that no step that has begun could have held it: which sequences a
        step holds depends on when they are ready alone, as in virtual time.
        """
        self.replica.submit(sequence, now_s=self._clock.now_s())
        self._sinks[sequence.id] = sink
        if self._step is None:
            start_s = self.replica.next_start_s(self._last_end_s)
            if start_s is not None and start_s != self._start_s:
                self._start_s = start_s
                self._deadline.set(self._clock.wall_s(start_s))

    @property
    def utilisation(self) -> float:
        """Share of the last ten engine seconds in which a step ran."""
        return self._utilisation.share(
            self._clock.now_s(), None if self._step is None else self._step.start_s
        )

    @property
    def power_watts(self) -> float:
        """All-in, at the present utilisation."""
        return power_watts(self.replica.gpu, self.replica.tier.serving.gpus, self.utilisation)

    def cancel(self, sequence_id: int) -> None:
        if self._sinks.pop(sequence_id, None) is not None:
            self.replica.cancel(sequence_id)
            if self._burst is not None:
                self._burst.drop(sequence_id)

    def cancel_all(self) -> None:
        for sequence_id in list(self._sinks):
            self.cancel(sequence_id)

    def close(self) -> None:
        self._deadline.close()

    def _due(self) -> None:
        """Ends the step in flight and starts the next, one of each at most: the loop is shared."""
        now_s = self._clock.now_s()
        if self._step is not None and self._step.end_s <= now_s:
            self._finish(self._step)
        if self._start_s is not None and self._start_s <= now_s:
            self._step = self.replica.start_step(self._start_s)
            # nothing to start: what was planned has been cancelled
            self._start_s = None if self._step is not None else self.replica.next_start_s(now_s)
        due_s = self._step.end_s if self._step is not None else self._start_s
        if due_s is not None:
            wall_s = self._clock.wall_s(due_s)
            self._deadline.set(wall_s)
            if self._step is not None and wall_s - time.monotonic() > _PREPARED_BEFORE_S:
                self._burst = Burst(
                    self.replica.foreseen(),
                    self._sinks,
                    second=_unix_second(wall_s),
                    end_s=due_s,
                    until_s=wall_s - _PREPARED_BEFORE_S,
                    on_error=self._report,
                )

    def _finish(self, step: Step) -> None:
        self._step = None
        end_s, before_s = step.end_s, self._last_end_s
        burst, self._burst = self._burst, None
        if burst is not None:
            burst.send()
        emissions = self.replica.finish_step(step)
        sent: Container[int] = () if burst is None else burst.prepared
        self._emit(emissions, sent, _unix_second(self._clock.wall_s(end_s)))
        sinks, total, usual, odd = self._sinks, 0, 0, []
        for sequence, tokens, first, finished in emissions:
            total += tokens
            if finished:
                self.log.sequence(sequence)
                sink = sinks.pop(sequence.id, None)
            else:
                sink = sinks.get(sequence.id)
            if sink is None:  # cancelled on hearing of its token
                continue
            if sink.last_s == before_s:
                usual += 1
            elif not first:
                odd.append(end_s - sink.last_s)
            sink.last_s = end_s
        self._last_end_s = end_s
        late_s = time.monotonic() - self._clock.wall_s(end_s)
        self.log.step(end_s, late_s)
        self._utilisation.step(step.start_s, end_s)
        if late_s > self._max_lag_s:
            self._clock.slip(late_s)
        self._on_step(StepReport(step, late_s, total, end_s - before_s, usual, odd))
        self._start_s = self.replica.next_start_s(end_s)

    def _emit(self, emissions: list[Emission], sent: Container[int], second: int) -> None:
        """To the sinks of all that are not among the sent."""
        for sequence, tokens, _, finished in emissions:
            if sequence.id in sent:
                continue
            try:
                self._sinks[sequence.id].emit(tokens, second, finished)
            except Exception as error:  # noqa: BLE001  a defect in one answer must not stop the others
                self._report(error)

    def _report(self, error: Exception) -> None:
        message = "an answer could not be written"
        self._loop.call_exception_handler({"message": message, "exception": error})


def _unix_second(wall_s: float) -> int:
    """Of a time.monotonic()."""
    return int(time.time() + wall_s - time.monotonic())
