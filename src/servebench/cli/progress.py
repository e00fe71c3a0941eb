"""Progress on stderr of what may take a while: what is being done, and for how long it has gone on.

Only tells: it knows no share of the whole, since a search does not know how long it is.
"""

import sys
from dataclasses import dataclass, field
from time import monotonic

import click

QUIET_S = 10.0  # between two lines where they stay: logs are to be short, nobody is to wait in silence


@dataclass(slots=True)
class Progress:
    """rewrites: one line that rewrites itself, for a terminal that nobody else writes to; else a line now and
    then. Goes to other processes with its beginning, of a clock that all of a machine share.
    """

    rewrites: bool = False
    began_s: float = field(default_factory=monotonic)
    _told_s: float = -1.0
    _shown: bool = False

    @classmethod
    def here(cls) -> "Progress":
        return cls(rewrites=sys.stderr.isatty())

    def __call__(self, text: str) -> None:
        now_s = monotonic()
        line = f"{now_s - self.began_s:4.0f} s  {text}"
        if self.rewrites:
            click.echo(f"\r\033[K{line}", err=True, nl=False)
            self._shown = True
        elif now_s - max(self._told_s, self.began_s) >= QUIET_S:
            self._told_s = now_s
            click.echo(line, err=True)

    def end(self) -> None:
        """Before anything else is written."""
        if self._shown:
            click.echo("\r\033[K", err=True, nl=False)
            self._shown = False
