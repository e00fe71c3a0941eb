"""SplitReplica: a replica that prefills, in front of those that decode; to who submits, one replica."""

from collections.abc import Sequence

from mock_server.engine_log import EngineLog
from mock_server.realtime import RealtimeReplica
from mock_server.sink import Prepared, Sink
from servebench.engine.disaggregation import Handover
from servebench.engine.router import least_loaded
from servebench.engine.sequence import Sequence as EngineSequence

CHOOSE_DECODER = least_loaded  # of all prefill replicas' together: one router for the fleet


class Decoders:
    """The replicas that decode, with the router that all prefill replicas share."""

    def __init__(self, realtimes: Sequence[RealtimeReplica]) -> None:
        self._realtimes = realtimes
        self._replicas = [realtime.replica for realtime in realtimes]
        self._choose = CHOOSE_DECODER()

    def require_fit(self, sequence: EngineSequence) -> None:
        """Raises SequenceDoesNotFitError."""
        self._replicas[0].require_fit(sequence)

    def choose(self, sequence: EngineSequence) -> RealtimeReplica:
        return self._realtimes[self._choose(self._replicas, sequence)]


class SplitReplica:
    """index: of the prefill replica among its like. All methods are for the event loop's thread."""

    def __init__(
        self, prefill: RealtimeReplica, decoders: Decoders, handover: Handover, *, index: int
    ) -> None:
        self._prefill, self._decoders, self._handover, self._index = prefill, decoders, handover, index
        self._runs_at: dict[int, RealtimeReplica] = {}

    @property
    def log(self) -> EngineLog:
        """Of the prefill replica."""
        return self._prefill.log

    def submit(self, sequence: EngineSequence, sink: Sink) -> None:
        """Raises SequenceDoesNotFitError, QueueFullError."""
        self._decoders.require_fit(sequence)
        leg = self._handover.begin(sequence)
        try:
            self._prefill.submit(leg, _PrefillSink(self, leg, sink))
        except Exception:
            self._handover.cancel(sequence.id)
            raise
        self._runs_at[sequence.id] = self._prefill

    def prefilled(self, leg: EngineSequence, sink: Sink, end_s: float, second: int) -> None:
        """The leg's token is the sequence's first; its KV goes to a replica that decodes."""
        sequence = self._handover.end(leg, self._index, end_s)
        sink.last_s = end_s
        if sequence is None:
            del self._runs_at[leg.id]
            sink.emit(1, second, True)
            return
        sink.emit(1, second, False)
        if leg.id not in self._runs_at:  # the client left on hearing the first token
            return
        decoder = self._runs_at[leg.id] = self._decoders.choose(sequence)
        decoder.submit(sequence, _DecodeSink(self, leg.id, sink))

    def ended(self, sequence_id: int) -> None:
        self._runs_at.pop(sequence_id, None)

    def cancel(self, sequence_id: int) -> None:
        realtime = self._runs_at.pop(sequence_id, None)
        if realtime is not None:
            self._handover.cancel(sequence_id)
            realtime.cancel(sequence_id)

    def cancel_all(self) -> None:
        for sequence_id in list(self._runs_at):
            self.cancel(sequence_id)

    def close(self) -> None:
        self._prefill.close()


class _PrefillSink(Sink):
    def __init__(self, split: SplitReplica, leg: EngineSequence, sink: Sink) -> None:
        self.last_s = -1.0
        self._split, self._leg, self._sink = split, leg, sink

    def emit(self, tokens: int, second: int, finished: bool) -> None:
        assert self._leg.finished_s is not None
        self._split.prefilled(self._leg, self._sink, self._leg.finished_s, second)


class _DecodeSink:
    """Passes on; last_s is kept on the sink behind it, which knows when its first token came."""

    def __init__(self, split: SplitReplica, sequence_id: int, sink: Sink) -> None:
        self._split, self._id, self._sink = split, sequence_id, sink

    @property
    def last_s(self) -> float:
        return self._sink.last_s

    @last_s.setter
    def last_s(self, at_s: float) -> None:
        self._sink.last_s = at_s

    def emit(self, tokens: int, second: int, finished: bool) -> None:
        if finished:
            self._split.ended(self._id)
        self._sink.emit(tokens, second, finished)

    def prepare(self, second: int, end_s: float, finished: bool) -> Prepared | None:
        return self._sink.prepare(second, end_s, finished)

    def prepared_end(self) -> None:
        self._split.ended(self._id)
        self._sink.prepared_end()
