"""Garbage: Python's collector of cycles pauses a process for as long as it has objects to look through.

With thousands of requests in flight that is 10 to 20 ms, longer than the gap between tokens that the client
can be late by. Requests leave no cycles behind, so it seldom has anything to find.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_THRESHOLDS: Final = (100_000, 20, 50)  # objects more than were freed; the default is 700


def spare_the_load() -> None:
    """Set what is there by now aside, and look for cycles seldom from now on."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)


@contextmanager
def load_spared() -> Iterator[None]:
    """The same for a while: then as often as before."""
    before = gc.get_threshold()
    spare_the_load()
    try:
        yield
    finally:
        gc.set_threshold(*before)
