"""The console that tables are printed on."""

import shutil

from rich.console import Console

PIPED_COLUMNS = 160  # no terminal to fit: rich would squeeze a table into 80


def console() -> Console:
    """Standard output; wide enough for a table where it is no terminal."""
    out = Console(highlight=False)
    if out.is_terminal:
        return out
    return Console(highlight=False, width=max(PIPED_COLUMNS, shutil.get_terminal_size().columns))
