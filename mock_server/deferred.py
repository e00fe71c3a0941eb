"""Deferred completions: they run without their client, and wait to be fetched, once."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Coroutine
from dataclasses import dataclass

from mock_server.choices import DEFERRED_KEPT_S, MAX_DEFERRED
from mock_server.refusals import too_many_deferred


@dataclass(frozen=True, slots=True)
class _Entry:
    key: str
    started_s: float
    task: asyncio.Task[bytes]


class DeferredStore:
    """At most MAX_DEFERRED at a time, each for DEFERRED_KEPT_S."""

    def __init__(self) -> None:
        self._entries: OrderedDict[str, _Entry] = OrderedDict()  # oldest first

    def start(self, key: str, request_id: str, work: Coroutine[None, None, bytes]) -> None:
        """Raises RefusalError where too many wait, pending or not fetched."""
        now_s = time.monotonic()
        while self._entries and now_s - next(iter(self._entries.values())).started_s > DEFERRED_KEPT_S:
            self._entries.popitem(last=False)[1].task.cancel()
        if len(self._entries) >= MAX_DEFERRED:
            work.close()
            raise too_many_deferred(MAX_DEFERRED)
        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(_look_at)
        self._entries[request_id] = _Entry(key, now_s, task)

    def take(self, key: str, request_id: str) -> bytes | None:
        """The body once done, which forgets it; b"" while pending; None where it is not known to this key.

        Raises RefusalError where that is what became of it.
        """
        entry = self._entries.get(request_id)
        if entry is None or entry.key != key or time.monotonic() - entry.started_s > DEFERRED_KEPT_S:
            return None
        if not entry.task.done():
            return b""
        del self._entries[request_id]
        return entry.task.result()

    def close(self) -> None:
        for entry in self._entries.values():
            entry.task.cancel()
        self._entries.clear()


def _look_at(task: asyncio.Task[bytes]) -> None:
    """A refusal that nobody fetches is no error of the server's."""
    if not task.cancelled():
        task.exception()
