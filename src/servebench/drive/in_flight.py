"""InFlight: the requests under way, counted on their own for Little's law.

The mean over the steady window must be arrivals times residence as the records tell it, else one is broken.
"""


class InFlight:
    """now, and the integral over [start_ns, end_ns) of the run (request-seconds)."""

    def __init__(self, start_ns: int, end_ns: int) -> None:
        self._start_ns, self._end_ns = start_ns, end_ns
        self._since_ns = start_ns
        self._area_ns = 0
        self.now = 0

    def change(self, by: int, at_ns: int) -> None:
        """by: +1 at a start, -1 at an end; at_ns since T0. Times before the last change count as it."""
        at_ns = min(max(at_ns, self._since_ns), self._end_ns)
        self._area_ns += self.now * (at_ns - self._since_ns)
        self._since_ns = at_ns
        self.now += by

    def area_s(self, at_ns: int) -> float:
        self.change(0, at_ns)
        return self._area_ns / 1e9
