"""The form of references.yaml: models to compare with. Their list prices come from catalog.market."""

from typing import Annotated

from pydantic import Field, model_validator

from servebench.catalog.cited import Cited, Positive, Row
from servebench.catalog.hardware_file import sources_of
from servebench.catalog.tiers import ReferenceModel


class ReferenceRow(Row):
    """genai: [provider, model] in the genai-prices package."""

    name: str
    maker: str
    params_total_low: Cited[Positive] | None = None
    params_total_high: Cited[Positive] | None = None
    genai: tuple[Annotated[str, Field(min_length=1)], Annotated[str, Field(min_length=1)]] | None = None
    note: str = ""

    @model_validator(mode="after")
    def _ordered(self) -> "ReferenceRow":
        low, high = self.params_total_low, self.params_total_high
        if (low is None) != (high is None) or (low and high and low.value > high.value):
            raise ValueError("params_total_low and params_total_high go together, the low one first")
        return self

    def to_reference(self, reference_id: str) -> ReferenceModel:
        return ReferenceModel(
            id=reference_id,
            name=self.name,
            maker=self.maker,
            params_total_low=None if self.params_total_low is None else self.params_total_low.value,
            params_total_high=None if self.params_total_high is None else self.params_total_high.value,
            genai_id=self.genai,
            note=self.note,
            sources=sources_of(self),
        )


class ReferenceFile(Row):
    references: dict[str, ReferenceRow]
