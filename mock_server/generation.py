"""Generation: the sequences of one reply on their way through the engine."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from mock_server.fleet import Place
from mock_server.refusals import at_capacity
from mock_server.reply import Reply
from mock_server.sink import Sink
from servebench.engine.sequence import QueueFullError

FULL_QUEUE_RETRY_S = 0.02


class WaitableSink(Sink, Protocol):
    engine_done: asyncio.Future[None]


class WholeSink(Sink):
    """Waits for the last token."""

    def __init__(self) -> None:
        self.last_s = -1.0
        self.engine_done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def emit(self, tokens: int, second: int, finished: bool) -> None:
        if finished and not self.engine_done.done():  # done: cancelled, its handler is about to hear of it
            self.engine_done.set_result(None)


class _Leader(Sink):
    """The sink of the first of several choices: the others start once it has its first token."""

    def __init__(self, sink: Sink, start_others: Callable[[], None]) -> None:
        self.last_s = -1.0
        self._sink = sink
        self._start_others: Callable[[], None] | None = start_others

    def emit(self, tokens: int, second: int, finished: bool) -> None:
        if self._start_others is not None:
            asyncio.get_running_loop().call_soon(self._start_others)
            self._start_others = None
        self._sink.emit(tokens, second, finished)


async def generate(reply: Reply, sinks: Sequence[WaitableSink], place: Place) -> None:
    """Until the engine has made the last token of every choice; cancelling this cancels the sequences.

    Raises RefusalError where the tier's queue is full.

    The choices have one prompt: the first computes it, and the others find it in the prefix cache.
    """
    realtime, others = place.realtime, list(zip(reply.sequences[1:], sinks[1:], strict=True))

    def start_others() -> None:
        while others:
            try:
                realtime.submit(*others[0])
            except QueueFullError:  # the prompt was let in, so its other choices wait here
                asyncio.get_running_loop().call_later(FULL_QUEUE_RETRY_S, start_others)
                return
            others.pop(0)

    task = asyncio.current_task()
    assert task is not None
    try:
        realtime.submit(reply.sequences[0], _Leader(sinks[0], start_others) if others else sinks[0])
    except QueueFullError:
        raise at_capacity() from None
    place.serving.add(task)
    place.publish()
    try:
        for sink in sinks:
            await sink.engine_done
    except asyncio.CancelledError:
        others.clear()
        for sequence in reply.sequences:
            realtime.cancel(sequence.id)
        place.telemetry.abort()
        raise
    finally:
        place.serving.discard(task)
    place.telemetry.finish(reply)
