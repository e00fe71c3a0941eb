"""How the tables of the verbs look: narrow enough for 80 columns, nothing cut off."""

import shutil
from collections.abc import Sequence

from rich import box
from rich.console import Console, JustifyMethod
from rich.table import Table

ROOM_COLUMNS = 80
PIPED_COLUMNS = 160  # no terminal to fit: rich would squeeze a table into 80


def console() -> Console:
    """Standard output; wide enough for a table where it is no terminal."""
    out = Console(highlight=False)
    if out.is_terminal:
        return out
    return Console(highlight=False, width=max(PIPED_COLUMNS, shutil.get_terminal_size().columns))


def table(title: str, columns: Sequence[str], *, whole: Sequence[str], right: Sequence[str] = ()) -> Table:
    """An empty table. Cells fold, that no digit be lost in a narrow window, save in the `whole` columns."""
    if console().width < ROOM_COLUMNS:  # rich would cut them off, or leave out what stands beside them
        whole = ()
    made = Table(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False
    )
    for heading in columns:
        justify: JustifyMethod = "right" if heading in right else "left"
        made.add_column(heading, justify=justify, overflow="fold", no_wrap=heading in whole)
    return made
