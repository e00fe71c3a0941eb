"""A coarse timer wheel: who is to be looked at by when. Pure; the caller brings the time.

One entry per connection, visited at the latest every horizon; what a visit finds is the connection's affair.
Thus nothing is armed or cancelled when a chunk arrives.
"""

from typing import Generic, TypeVar

T = TypeVar("T")


class Wheel(Generic[T]):
    """tick_ns: how late a visit may be."""

    __slots__ = ("_next_tick", "_slots", "tick_ns")

    def __init__(self, tick_ns: int, now_ns: int) -> None:
        self.tick_ns = tick_ns
        self._slots: dict[int, list[T]] = {}
        self._next_tick = now_ns // tick_ns

    def add(self, item: T, at_ns: int) -> None:
        """Visit item at the first tick at or after at_ns."""
        tick = max(-(-at_ns // self.tick_ns), self._next_tick)
        self._slots.setdefault(tick, []).append(item)

    def due(self, now_ns: int) -> list[T]:
        """The items whose tick has come, removed."""
        items: list[T] = []
        last = now_ns // self.tick_ns
        if last - self._next_tick > len(
            self._slots
        ):  # after a long sleep: over the slots, not over the ticks
            for tick in sorted(tick for tick in self._slots if tick <= last):
                items += self._slots.pop(tick)
        else:
            for tick in range(self._next_tick, last + 1):
                items += self._slots.pop(tick, ())
        self._next_tick = max(self._next_tick, last + 1)
        return items
