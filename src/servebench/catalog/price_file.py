"""The form of every prices*.yaml: per model its sheets by date, in ticks per token; slugs that were retired.

as_of is the first day that a sheet is known to hold; the source's date is when it was read.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated

from pydantic import Field, ValidationInfo, model_validator

from servebench.catalog.cited import IsoDate, Origin, Row
from servebench.catalog.prices import PriceSheet, Rates
from servebench.catalog.provenance import Kind, Source

Ticks = Annotated[int, Field(ge=0, strict=True)]
Multiplier = Annotated[Decimal, Field(gt=0, le=10)]


class RatesRow(Row):
    input: Ticks
    cached: Ticks
    output: Ticks

    def to_rates(self) -> Rates:
        return Rates(input_ticks=self.input, cached_ticks=self.cached, output_ticks=self.output)


class SheetRow(Origin):
    """low, high: the base rates at the ends of a MODELLED sheet's band."""

    as_of: IsoDate
    base: RatesRow
    long: RatesRow | None = None
    threshold_tokens: Annotated[int, Field(ge=1)] | None = None
    threshold_inclusive: bool = True
    priority_multiplier: Multiplier | None = None
    batch_multiplier: Multiplier | None = None
    us_multiplier: Multiplier | None = None
    tool_ticks: dict[str, Ticks] = Field(default_factory=dict)
    low: RatesRow | None = None
    high: RatesRow | None = None
    _cited: Source

    @model_validator(mode="after")
    def _consistent(self, info: ValidationInfo) -> "SheetRow":
        if (self.long is None) != (self.threshold_tokens is None):
            raise ValueError("long and threshold_tokens go together: give both or neither")
        if self.base.cached > self.base.input:
            raise ValueError(
                f"a cached token ({self.base.cached}) costs more than a fresh one ({self.base.input})"
            )
        origin = self.resolve(info)
        if origin.kind is Kind.MODELLED and (self.low is None or self.high is None):
            raise ValueError("is MODELLED: give its low and high rates")
        self._cited = origin
        return self

    def to_sheet(self, model: str) -> PriceSheet:
        return PriceSheet(
            model=model,
            as_of=self.as_of,
            base=self.base.to_rates(),
            long=None if self.long is None else self.long.to_rates(),
            threshold_tokens=self.threshold_tokens,
            threshold_inclusive=self.threshold_inclusive,
            priority_multiplier=self.priority_multiplier,
            batch_multiplier=self.batch_multiplier,
            us_multiplier=self.us_multiplier,
            tool_ticks=dict(self.tool_ticks),
            source=self._cited,
            low=None if self.low is None else self.low.to_rates(),
            high=None if self.high is None else self.high.to_rates(),
        )


class PriceRow(Row):
    aliases: tuple[str, ...] = ()
    sheets: Annotated[list[SheetRow], Field(min_length=1)]

    def to_sheets(self, model: str) -> list[PriceSheet]:
        return [sheet.to_sheet(model) for sheet in self.sheets]


@dataclass(frozen=True, slots=True)
class Retired:
    """A slug that answers still, and bills as model `to` from ISO date `since`."""

    to: str
    since: str


class RetiredRow(Row):
    to: str
    since: IsoDate

    def to_retired(self) -> Retired:
        return Retired(to=self.to, since=self.since)


class PriceFile(Row):
    prices: dict[str, PriceRow] = Field(default_factory=dict)
    retired: dict[str, RetiredRow] = Field(default_factory=dict)
