"""Where a number comes from. Every number of the catalog carries one of these.

PUBLISHED: the maker or a vendor printed it. DERIVED: computed from published numbers by a stated
formula. ASSUMED: a choice of ours that a user may change. MODELLED: nobody has published it; a model of
ours says so, and its uncertainty goes with it wherever it is shown.
"""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    PUBLISHED = "published"
    DERIVED = "derived"
    ASSUMED = "assumed"
    MODELLED = "MODELLED"


@dataclass(frozen=True, slots=True)
class Source:
    """The origin of one number: kind, source text, ISO date, and its 1-sigma or range bounds if known."""

    kind: Kind
    source: str
    date: str
    low: float | None = None
    high: float | None = None
    note: str = ""
