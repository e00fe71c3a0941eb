"""Burst: events of one step that are encoded before it ends, and then leave one right after the other.

Between them only the kernel works: what a step's last stream waits for its token is what its sends take.
"""

import os
import time
from collections.abc import Callable, Iterable, Mapping

from mock_server.sink import Prepared, Sink
from servebench.engine.sequence import Emission


class Burst:
    """Of those of these emissions whose sink can prepare its event; emissions are of one token each.

    sinks: theirs, by sequence. second, end_s: of the step's end, Unix and engine time. until_s: a
    time.monotonic(), past which the rest is left to the end. on_error: hears of a sink's defect.
    """

    def __init__(
        self,
        emissions: Iterable[Emission],
        sinks: Mapping[int, Sink],
        *,
        second: int,
        end_s: float,
        until_s: float,
        on_error: Callable[[Exception], None],
    ) -> None:
        self.prepared: dict[int, Prepared] = {}  # by sequence
        self._ends: dict[int, Sink] = {}
        for sequence, _, _, finished in emissions:
            if time.monotonic() > until_s:
                break
            sink = sinks[sequence.id]
            try:
                prepared = sink.prepare(second, end_s, finished)
            except Exception as error:  # noqa: BLE001  a defect in one answer must not stop the others
                on_error(error)
                continue
            if prepared is not None:
                self.prepared[sequence.id] = prepared
                if finished:
                    self._ends[sequence.id] = sink
        self._line_up()

    def drop(self, sequence_id: int) -> None:
        """It is cancelled: nothing more is written for it."""
        if self.prepared.pop(sequence_id, None) is not None:
            self._ends.pop(sequence_id, None)
            self._stale = True

    def send(self) -> None:
        """Writes to all, then tells the sinks that have ended."""
        if self._stale:
            self._line_up()
        if any(connection.is_closing() for connection, _, _ in self._writes):
            # its descriptor may be somebody else's by now
            for connection, _, data in self._writes:
                if not connection.is_closing():
                    connection.write(data)
        else:
            self._write()
        for sink in self._ends.values():
            sink.prepared_end()

    def _line_up(self) -> None:
        self._stale = False
        # a token of a tool call says nothing until the call is whole
        self._writes = [write for write in self.prepared.values() if write[2]]
        self._fds = [fd for _, fd, _ in self._writes]
        self._data = [data for _, _, data in self._writes]
        self._sizes = list(map(len, self._data))

    def _write(self) -> None:
        sizes: list[int] = []
        writes = map(os.write, self._fds, self._data)
        while len(sizes) < len(self._fds):
            try:
                sizes.extend(writes)
            except OSError:  # full, or broken: its transport will see to it
                sizes.append(0)
        if sizes != self._sizes:
            for size, (connection, _, data) in zip(sizes, self._writes, strict=True):
                if size != len(data):
                    connection.write(data[size:])
