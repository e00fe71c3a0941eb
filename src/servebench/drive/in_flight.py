"""InFlight: the requests under way, counted on their own for Little's law.

The mean over the steady window must be arrivals times residence as the records tell it, else one is broken.
"""


class InFlight:
    """now, and the integral over [start_ns, end_ns) of the run (request-seconds), in whatever order the
    starts and ends are told.
    """

    def __init__(self, start_ns: int, end_ns: int) -> None:
        self._start_ns, self._end_ns = start_ns, max(end_ns, start_ns)
        self._area_ns = 0  # the ends less the starts of what is told, within the window
        self._seen = self._seen_ns = self._seen_area_ns = 0
        self.now = 0

    def change(self, by: int, at_ns: int) -> None:
        """by: +1 at a start, -1 at an end; at_ns since T0."""
        self._area_ns -= by * self._within(at_ns)
        self.now += by

    def seen(self, now: int, at_ns: int) -> None:
        """A look at the loop itself: so many under way; holds until the next look."""
        self._seen_area_ns += self._seen * (self._within(at_ns) - self._within(self._seen_ns))
        self._seen, self._seen_ns = now, at_ns

    def seen_area_s(self, at_ns: int) -> float:
        """The same integral by looks alone: no time of any request is in it."""
        self.seen(0, at_ns)
        return self._seen_area_ns / 1e9

    def cut(self, at_ns: int) -> None:
        """The run stops: the window ends here at the latest. Starts and ends so far must lie before it."""
        self._end_ns = max(min(self._end_ns, at_ns), self._start_ns)

    @property
    def span_s(self) -> float:
        return (self._end_ns - self._start_ns) / 1e9

    def area_s(self, at_ns: int) -> float:
        """Up to at_ns."""
        return (self._area_ns + self.now * self._within(at_ns)) / 1e9

    def _within(self, at_ns: int) -> int:
        return min(max(at_ns, self._start_ns), self._end_ns)
