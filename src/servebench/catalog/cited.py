"""Cited[T]: one number of a catalog file with where it comes from.

In YAML either a bare value (then the file's `default` source holds) or a mapping: value, `from` (a name of
the file's `sources`), and any of kind, source, date, low, high, note, which override what `from` says.
"""

import datetime
import math
from collections.abc import Mapping
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, model_validator

from servebench.catalog.provenance import Kind, Source

T = TypeVar("T")


def _iso_text(value: object) -> object:
    """YAML reads 2026-09-29 as a date and 2026 as an integer."""
    if isinstance(value, datetime.date):
        return value.isoformat()
    return str(value) if type(value) is int else value


IsoDate = Annotated[str, BeforeValidator(_iso_text), Field(pattern=r"^20\d\d(-[01]\d(-[0-3]\d)?)?$")]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, le=1)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]


class Row(BaseModel):
    """A mapping of a catalog file: unknown keys are an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceRow(Row):
    kind: Kind
    source: Annotated[str, Field(min_length=3)]
    date: IsoDate
    note: str = ""

    def to_source(self) -> Source:
        return Source(kind=self.kind, source=self.source, date=self.date, note=self.note)


class Origin(Row):
    """The keys that say where a value or a whole row comes from."""

    from_: Annotated[str | None, Field(alias="from")] = None
    kind: Kind | None = None
    source: str | None = None
    date: IsoDate | None = None
    note: str = ""

    def resolve(self, info: ValidationInfo, *, low: float | None = None, high: float | None = None) -> Source:
        """The named or default source of the file with this row's own words over it. Raises ValueError."""
        context: Mapping[str, Any] = info.context or {}
        named: Mapping[str, Source] = context.get("sources", {})
        name = self.from_ if self.from_ is not None else context.get("default")
        if self.kind is not None and self.source is not None and self.date is not None:
            known = Source(self.kind, self.source, self.date)
        elif name is not None and name in named:
            known = named[name]
        else:
            raise ValueError(f"from: {name} is no source of this file; known: {', '.join(named) or 'none'}")
        return Source(
            kind=self.kind or known.kind,
            source=self.source or known.source,
            date=self.date or known.date,
            low=low,
            high=high,
            note=self.note or known.note,
        )


class Cited(Origin, Generic[T]):
    value: T
    low: float | None = None
    high: float | None = None
    _cited: Source

    @model_validator(mode="before")
    @classmethod
    def _bare_value(cls, data: object) -> object:
        return data if isinstance(data, Mapping) else {"value": data}

    @model_validator(mode="after")
    def _resolve(self, info: ValidationInfo) -> "Cited[T]":
        low, high = self.low, self.high
        if isinstance(self.value, (int, float)):
            if low is not None and not low <= self.value:
                raise ValueError(f"low {low:g} is above the value {self.value:g}")
            if high is not None and not high >= self.value:
                raise ValueError(f"high {high:g} is below the value {self.value:g}")
        if any(bound is not None and not math.isfinite(bound) for bound in (low, high)):
            raise ValueError("low and high must be finite")
        origin = self.resolve(info, low=low, high=high)
        if origin.kind is Kind.MODELLED and (low is None or high is None) and not origin.note:
            raise ValueError("is MODELLED: give its low and high, or a note that says how far to trust it")
        self._cited = origin
        return self

    @property
    def cited(self) -> Source:
        return self._cited
