"""Burst: events of one step that are encoded before it ends, and then leave one right after the other.

Between them only the kernel works: what a step's last stream waits for its token is what its sends take.
"""

import os
from collections.abc import Iterable, Mapping

from mock_server.sink import Sink


class Burst:
    """Of those of these sequences whose sink has something prepared. second: of the step's end, Unix time.

    sinks: theirs, by sequence.
    """

    def __init__(self, sequence_ids: Iterable[int], sinks: Mapping[int, Sink], second: int) -> None:
        self.sinks: dict[int, Sink] = {}
        self._prepared = []
        for sequence_id in sequence_ids:
            sink = sinks[sequence_id]
            prepared = sink.prepare(second)
            if prepared is not None:
                self.sinks[sequence_id] = sink
                self._prepared.append(prepared)
        self._fds = [fd for _, fd, _ in self._prepared]
        self._data = [data for _, _, data in self._prepared]
        self._sizes = list(map(len, self._data))

    def send(self) -> None:
        """Writes to all, then tells the sinks."""
        if any(connection.is_closing() for connection, _, _ in self._prepared):
            # its descriptor may be somebody else's by now
            for connection, _, data in self._prepared:
                if not connection.is_closing():
                    connection.write(data)
        else:
            self._write()
        for sink in self.sinks.values():
            sink.prepared_sent()

    def _write(self) -> None:
        sizes: list[int] = []
        writes = map(os.write, self._fds, self._data)
        while len(sizes) < len(self._fds):
            try:
                sizes.extend(writes)
            except OSError:  # full, or broken: its transport will see to it
                sizes.append(0)
        if sizes != self._sizes:
            for size, (connection, _, data) in zip(sizes, self._prepared, strict=True):
                if size != len(data):
                    connection.write(data[size:])
